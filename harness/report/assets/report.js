"use strict";
// Draws the charts from the JSON of the page. Colours come from the style, so light, dark and print agree with it.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.documentElement;
  page.classList.add("scripted");

  const significant = (v) => (v === 0 ? "0" : Number(v.toPrecision(3)).toLocaleString("en").replace(/,/g, "\u202f"));
  const seconds = (v) =>
    v == null ? "" : v === 0 ? "0 s" : v < 1e-3 ? `${significant(v * 1e6)} µs` : v < 1 ? `${significant(v * 1e3)} ms` : `${significant(v)} s`;
  const number = (v) => (v == null ? "" : significant(v));
  const percent = (v) => (v == null ? "" : `${significant(v * 100)} %`);
  const colour = (name) => getComputedStyle(page).getPropertyValue(`--${name}`).trim();
  const faint = (hex) => `${hex}33`;

  const axis = (show, more) => ({
    stroke: colour("soft"),
    grid: { stroke: colour("rule"), width: 1 },
    ticks: { stroke: colour("rule"), width: 1 },
    font: "12px system-ui, sans-serif",
    values: (_, ticks) => ticks.map((v) => (v == null ? "" : show(v))),
    ...more,
  });
  // A logarithmic axis has its ticks at 1, 2 and 5 of each decade; at 1 alone where it is short of room.
  const decades = (plot, index, low, high) => {
    const ticks = [];
    const room = (index === 0 ? plot.width / 75 : plot.height / 30) / Math.max(1, Math.log10(high / low));
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of room >= 3 ? [1, 2, 5] : [1]) {
        const tick = Number(`${factor}e${power}`);
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    return ticks;
  };
  const every = (_, ticks) => ticks;

  // What is not measured is shaded.
  const shade = ([from, to]) => (plot) => {
    const { ctx, bbox } = plot;
    const place = (v) => Math.min(Math.max(plot.valToPos(v, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.fillStyle = colour("shade");
    ctx.fillRect(bbox.left, bbox.top, place(from) - bbox.left, bbox.height);
    ctx.fillRect(place(to), bbox.top, bbox.left + bbox.width - place(to), bbox.height);
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

  const curves = () => {
    const names = Object.keys(data.cdf.series);
    const strokes = names.map((_, i) => colour(`c${i + 1}`));
    return {
      columns: [data.cdf.x, ...names.map((name) => data.cdf.series[name])],
      height: 300,
      scales: { x: { time: false, distr: 3, range: (_, low, high) => [low, high] }, y: { range: [0, 1.02] } },
      axes: [axis(seconds, { splits: decades, filter: every }), axis(percent, { size: 58 })],
      series: [
        { label: "time", value: (_, v) => seconds(v) },
        ...names.map((label, i) => ({ label, stroke: strokes[i], width: 2, value: (_, v) => percent(v) })),
      ],
      hooks: { draw: [dots(names.map((name, i) => ({ stroke: strokes[i], points: data.cdf.marks[name] })))] },
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
    scales: { x: { time: false }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [axis(seconds, { space: 60 }), axis(show, { size: 66 })],
    series: [{ label: "at", value: (_, v) => seconds(v) }, ...parts.series],
    hooks: { drawClear: [shade(data.time.window)] },
  });
  const line = (name, stroke, show) => ({
    columns: [data.time.x, data.time.series[name]],
    series: [{ label: name.replace(/_/g, " "), stroke, width: 2, fill: faint(stroke), points: { show: false }, value: (_, v) => show(v) }],
  });
  const lengths = () => {
    const parts = band(data.length, "ttft", colour("c1"));
    return {
      ...parts,
      height: 260,
      scales: {
        x: { time: false, distr: 3, range: (_, low, high) => [low, high] },
        y: { distr: 3, range: (_, low, high) => [low * 0.9, high * 1.1] },
      },
      axes: [axis(number, { splits: decades, filter: every }), axis(seconds, { size: 66, splits: decades, filter: every })],
      series: [{ label: "input tokens", value: (_, v) => number(v) }, ...parts.series],
    };
  };
  const kinds = {
    cdf: () => data.cdf && curves(),
    ttft: () => data.time && timed(band(data.time, "ttft", colour("c1")), seconds),
    tpot: () => data.time && timed(band(data.time, "tpot", colour("c3")), seconds),
    output: () => data.time && timed(line("output_tokens_per_s", colour("c2"), number), number),
    flight: () => data.time && timed(line("in_flight", colour("c4"), number), number),
    length: () => data.length && lengths(),
  };

  const plots = new Map();
  const draw = () => {
    document.querySelectorAll(".chart").forEach((figure) => {
      plots.get(figure)?.destroy();
      const { columns, ...options } = kinds[figure.dataset.chart]() || {};
      if (!columns || columns.slice(1).every((column) => column.every((v) => v == null))) {
        figure.remove();
        return;
      }
      plots.set(figure, new uPlot({ width: figure.clientWidth, ...options }, columns, figure));
    });
  };
  const resize = () => plots.forEach((plot, figure) => plot.setSize({ width: figure.clientWidth, height: plot.height }));
  const open = (state) => document.querySelectorAll("details").forEach((part) => (part.open = state));

  draw();
  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", draw);
  addEventListener("beforeprint", () => open(true));
  addEventListener("afterprint", () => open(false));
})();
