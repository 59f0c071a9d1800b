"use strict";
// The charts of all pages, by the name in `data-chart`. Their series lie in the page as JSON.
(() => {
  const { data, seconds, number, percent, told, colour, faint, axis, logarithmic, wholes, draw } = Report;
  const strokes = () => ["c1", "c2", "c3", "c4", "c5", "c6"].map(colour);
  const upward = (_, low, high) => [0, high > 0 ? high * 1.08 : 1];
  const flat = { size: 30 }; // of an axis below the plot
  const wide = (_, low, high) => (low < high ? [low, high] : [low / 2, high * 2]);

  // What is not measured is shaded.
  const shade = (plot) => {
    const { ctx, bbox } = plot;
    const [from, to] = data.time.window.map((v) => Math.min(Math.max(plot.valToPos(v, "x", true), bbox.left), bbox.left + bbox.width));
    ctx.save();
    ctx.fillStyle = colour("shade");
    ctx.fillRect(bbox.left, bbox.top, from - bbox.left, bbox.height);
    ctx.fillRect(to, bbox.top, bbox.left + bbox.width - to, bbox.height);
    ctx.restore();
  };
  const dots = (marks) => (plot) => {
    const { ctx } = plot;
    ctx.save();
    marks.forEach(({ stroke, points }, index) => {
      if (!plot.series[index + 1].show) return;
      ctx.fillStyle = stroke;
      points.forEach(([, value, share]) => {
        ctx.beginPath();
        ctx.arc(plot.valToPos(value, "x", true), plot.valToPos(share, "y", true), 4 * devicePixelRatio, 0, 7);
        ctx.fill();
      });
    });
    ctx.restore();
  };

  const curves = (cdf) => {
    const names = Object.keys(cdf.series);
    const paints = strokes();
    return {
      columns: [cdf.x, ...names.map((name) => cdf.series[name])],
      height: 300,
      scales: { x: { time: false, distr: 3, range: wide }, y: { range: [0, 1.02] } },
      axes: [axis(seconds, { ...flat, ...logarithmic }), axis(percent, { size: 58 })],
      series: [
        { label: "time", value: (_, v) => seconds(v) },
        ...names.map((label, i) => ({ label, stroke: paints[i], width: 2, points: { show: false }, value: (_, v) => percent(v) })),
      ],
      hooks: { draw: [dots(names.map((name, i) => ({ stroke: paints[i], points: cdf.marks[name] })))] },
    };
  };
  const band = (source, metric, stroke) => ({
    columns: [source.x, ...["p5", "p50", "p95"].map((q) => source.series[`${metric}_${q}`])],
    series: ["p5", "p50", "p95"].map((label) => ({
      label,
      stroke: label === "p50" ? stroke : faint(stroke),
      width: label === "p50" ? 2 : 1,
      spanGaps: true,
      points: { show: false },
      value: (_, v) => seconds(v),
    })),
    bands: [{ series: [3, 1], fill: faint(stroke) }],
  });
  const timed = (parts, show) => ({
    ...parts,
    height: 210,
    cursor: { sync: { key: "time", scales: ["x", null] } },
    scales: { x: { time: false, range: [0, data.end] }, y: { range: upward } },
    axes: [axis(seconds, { ...flat, space: 60 }), axis(show, { size: 66 })],
    series: [{ label: "at", value: (_, v) => seconds(v) }, ...parts.series],
    hooks: { drawClear: [shade] },
  });
  const lines = (series, show, paints) => {
    const names = Object.keys(series);
    return {
      columns: [data.time.x, ...names.map((name) => series[name])],
      series: names.map((label, i) => ({
        label,
        stroke: paints[i],
        width: 2,
        fill: names.length === 1 ? faint(paints[i]) : undefined,
        spanGaps: true,
        points: { show: false },
        value: (_, v) => show(v),
      })),
    };
  };
  const over = (name, label, paint) => data.time && timed(lines({ [label]: data.time.series[name] }, number, [colour(paint)]), number);
  const engine = (part) => {
    const show = part.unit === "share" ? percent : (v) => (v == null ? "" : part.unit === "W" ? `${number(v)} W` : number(v));
    return timed(lines(part.series, show, strokes()), show);
  };
  const lengths = () => {
    const parts = band(data.length, "ttft", colour("c1"));
    return {
      ...parts,
      height: 260,
      scales: { x: { time: false, distr: 3, range: wide }, y: { distr: 3, range: (_, low, high) => [low * 0.9, high * 1.1] } },
      axes: [axis(number, { ...flat, ...logarithmic, label: "input tokens", labelSize: 22 }), axis(seconds, { size: 66, ...logarithmic })],
      series: [{ label: "input tokens", value: (_, v) => number(v) }, ...parts.series],
    };
  };
  // Stacked: each line is drawn at the sum of those below it, and told as what it is itself.
  const stacked = ({ x, series }) => {
    const paints = { lag: colour("c2"), prefill: colour("c1"), decode: colour("c3"), gap: colour("c4") };
    const titles = { lag: "client", prefill: "queue+prefill", decode: "decode", gap: "tools+think" };
    const names = Object.keys(series);
    const sums = names.map((_, n) => x.map((_, i) => names.slice(0, n + 1).reduce((sum, name) => sum + series[name][i], 0)));
    return {
      columns: [x, ...sums],
      height: 260,
      scales: { x: { time: false, range: [0, 1] }, y: { range: upward } },
      axes: [axis(percent, { ...flat, label: "share of sessions", labelSize: 22 }), axis(seconds, { size: 66 })],
      series: [
        { label: "longer than", value: (_, v) => percent(v) },
        ...names.map((name, n) => ({
          label: titles[name],
          stroke: paints[name],
          fill: n === 0 ? `${paints[name]}99` : undefined,
          width: 1.5,
          points: { show: false },
          value: (_, v, __, i) => (i == null ? "" : seconds(series[name][i])),
        })),
      ],
      bands: names.slice(1).map((name, n) => ({ series: [n + 2, n + 1], fill: `${paints[name]}99` })),
    };
  };

  // Points of a study: a shape and a colour for each verdict, an interval where there is one, a name where asked for.
  const shapes = {
    good: (ctx, x, y, r) => ctx.arc(x, y, r, 0, 7),
    bad: (ctx, x, y, r) => [1, -1].forEach((s) => (ctx.moveTo(x - r, y - s * r), ctx.lineTo(x + r, y + s * r))),
    warn: (ctx, x, y, r) => ctx.rect(x - r, y - r, 2 * r, 2 * r),
    plain: (ctx, x, y, r) => ctx.arc(x, y, r, 0, 7),
    mark: (ctx, x, y, r) => ctx.arc(x, y, r, 0, 7),
  };
  const paint = (tone) => colour({ plain: "mute", mark: "c1" }[tone] || tone);
  const mark = (plot, point) => {
    const { ctx } = plot;
    const [x, y, r] = [plot.valToPos(point.x, "x", true), plot.valToPos(point.y, "y", true), 5 * devicePixelRatio];
    ctx.strokeStyle = ctx.fillStyle = paint(point.tone);
    ctx.lineWidth = 2 * devicePixelRatio;
    if (point.low != null && point.high != null) {
      ctx.beginPath();
      ctx.moveTo(x, plot.valToPos(point.low, "y", true));
      ctx.lineTo(x, plot.valToPos(point.high, "y", true));
      ctx.stroke();
    }
    ctx.beginPath();
    shapes[point.tone](ctx, x, y, r);
    if (point.tone === "warn" || point.tone === "bad" || point.hollow) {
      ctx.fillStyle = colour("paper");
      if (point.tone !== "bad") ctx.fill();
      ctx.stroke();
    } else ctx.fill();
  };
  // A name stands beside its point where it covers neither a point nor another name, or nowhere.
  const names = (plot, points) => {
    const { ctx, bbox } = plot;
    const unit = devicePixelRatio;
    const at = (point) => [plot.valToPos(point.x, "x", true), plot.valToPos(point.y, "y", true)];
    const taken = points.map(at).map(([x, y]) => [x - 6 * unit, x + 6 * unit, y, 6 * unit]);
    ctx.textAlign = "left";
    ctx.font = `${12 * unit}px system-ui, sans-serif`;
    ctx.textBaseline = "middle";
    points.filter((point) => point.name).forEach((point) => {
      const [x, y] = at(point);
      const { width } = ctx.measureText(point.name);
      const half = 7 * unit;
      const free = ([left, middle]) =>
        left >= bbox.left && left + width <= bbox.left + bbox.width &&
        taken.every(([from, to, y, r]) => left > to || left + width < from || Math.abs(middle - y) >= half + r);
      const [right, left] = [x + 9 * unit, x - 9 * unit - width];
      const place = [[right, y], [left, y], [right, y - 13 * unit], [right, y + 13 * unit], [left, y - 13 * unit], [left, y + 13 * unit]].find(free);
      if (!place) return;
      taken.push([place[0], place[0] + width, place[1], half]);
      ctx.strokeStyle = colour("paper"); // so that no line runs through it
      ctx.lineWidth = 4 * unit;
      ctx.strokeText(point.name, ...place);
      ctx.fillStyle = colour(point.tone === "plain" ? "soft" : "ink");
      ctx.fillText(point.name, ...place);
    });
  };
  const rule = (plot, { x, y, label, tone }) => {
    const { ctx, bbox } = plot;
    const at = x == null ? plot.valToPos(y, "y", true) : plot.valToPos(x, "x", true);
    ctx.strokeStyle = ctx.fillStyle = paint(tone);
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x == null ? bbox.left : at, x == null ? at : bbox.top);
    ctx.lineTo(x == null ? bbox.left + bbox.width : at, x == null ? at : bbox.top + bbox.height);
    ctx.stroke();
    ctx.setLineDash([]);
    if (tone === "plain") ctx.fillStyle = colour("soft");
    ctx.textAlign = "left";
    ctx.font = `600 ${12 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textBaseline = "bottom";
    if (x == null) ctx.fillText(label, bbox.left + 6 * devicePixelRatio, at - 3 * devicePixelRatio);
    else ctx.fillText(label, at + 6 * devicePixelRatio, bbox.top + 18 * devicePixelRatio);
  };
  const join = (plot, points) => {
    const { ctx } = plot;
    ctx.strokeStyle = colour("good");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    ctx.beginPath();
    points.forEach((point) => ctx.lineTo(plot.valToPos(point.x, "x", true), plot.valToPos(point.y, "y", true)));
    ctx.stroke();
  };
  const room = (_, ticks) => 18 + 7 * Math.max(4, ...(ticks || []).map((tick) => tick.length));
  const padded = (values, log) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (log) return [low / 1.25, high * 1.25];
    const pad = (high - low || Math.abs(high) || 1) * 0.1;
    return [low >= 0 ? Math.max(0, low - pad) : low - pad, high + pad];
  };
  const scatter = (chart) => {
    const points = [...chart.points].sort((a, b) => a.x - b.x);
    const xs = [...points.map((p) => p.x), ...chart.rules.flatMap((r) => r.x ?? [])];
    const ys = [...points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]), ...chart.rules.flatMap((r) => r.y ?? [])];
    const side = (part, values, more) => {
      const log = part.log && Math.min(...values) > 0;
      return {
        scale: { time: false, distr: log ? 3 : 1, range: padded(values, log) },
        axis: axis(told(part.unit), { label: part.label, ...(!log ? {} : part.whole ? wholes : logarithmic), ...(part.whole && !log ? { incrs: [1, 2, 5, 10, 20, 50] } : {}), ...more }),
      };
    };
    const [x, y] = [side(chart.x, xs, { ...flat, labelSize: 22 }), side(chart.y, ys, { size: room, labelSize: 20 })];
    const named = (i) => (i == null ? "" : points[i].told || told(chart.x.unit)(points[i].x));
    return {
      columns: [points.map((point) => point.x), points.map((point) => point.y)],
      height: 340,
      legend: { markers: { show: false } },
      scales: { x: x.scale, y: y.scale },
      axes: [x.axis, y.axis],
      series: [
        { label: "at", value: (_, v, __, i) => named(i) },
        { label: chart.y.label, paths: () => null, points: { show: false }, stroke: colour("soft"), value: (_, v) => told(chart.y.unit)(v) },
      ],
      hooks: {
        draw: [
          (plot) => {
            plot.ctx.save();
            if (chart.joined) join(plot, points.filter((point) => point.tone === "good"));
            chart.rules.forEach((one) => rule(plot, one));
            points.forEach((point) => mark(plot, point));
            names(plot, points);
            plot.ctx.restore();
          },
        ],
      },
    };
  };

  const kinds = {
    cdf: () => data.cdf && curves(data.cdf),
    ttft: () => data.time && timed(band(data.time, "ttft", colour("c1")), seconds),
    tpot: () => data.time && timed(band(data.time, "tpot", colour("c3")), seconds),
    output: () => over("output_tokens_per_s", "output tokens/s", "c2"),
    flight: () => over("in_flight", "in flight", "c4"),
    length: () => data.length && lengths(),
    sessions: () => data.sessions && stacked(data.sessions),
  };
  draw((name) => {
    if (name in kinds) return kinds[name]();
    const [family, ...rest] = name.split("-");
    const part = data[family]?.[rest.join("-")];
    return part && { engine, cdfs: curves, scatter }[family](part);
  });
})();
