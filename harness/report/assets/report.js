"use strict";
// What all charts share: units, axes, and drawing anew for size, print and scheme. Colours come from the style.
const Report = (() => {
  const page = document.documentElement;
  page.classList.add("scripted");
  const data = JSON.parse(document.getElementById("data").textContent);

  const significant = (v) => (v === 0 ? "0" : Number(v.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 }).replace(/,/g, "\u202f").replace("-", "\u2212"));
  const seconds = (v) =>
    v == null ? "" : v === 0 ? "0 s" : v < 1e-3 ? `${significant(v * 1e6)} µs` : v < 1 ? `${significant(v * 1e3)} ms` : `${significant(v)} s`;
  const number = (v) => (v == null ? "" : significant(v));
  const percent = (v) => (v == null ? "" : `${significant(v * 100)} %`);
  const signs = { USD: "$", EUR: "€", GBP: "£", JPY: "¥" };
  // How a unit of the catalogue is told.
  const told = (unit) =>
    unit === "s" ? seconds : unit === "share" ? percent : unit in signs ? (v) => (v == null ? "" : signs[unit] + significant(v)) : number;
  const colour = (name) => getComputedStyle(page).getPropertyValue(`--${name}`).trim();
  const faint = (hex) => `${hex}33`;

  const axis = (show, more) => ({
    stroke: colour("soft"),
    grid: { stroke: colour("rule"), width: 1 },
    ticks: { stroke: colour("rule"), width: 1, size: 5 },
    font: "12px system-ui, sans-serif",
    labelFont: "12px system-ui, sans-serif",
    labelGap: 4,
    values: (_, ticks) => ticks.map((v) => (v == null ? "" : show(v))),
    ...more,
  });
  // The ticks of a logarithmic axis: as many round figures of each decade as there is room for; where the axis spans
  // too little for two of them, round steps.
  const rounds = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7], [1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9]];
  const between = (factors, low, high) => {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of factors) {
        const tick = Number(`${factor}e${power}`);
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    return ticks;
  };
  const decades = (whole) => (plot, index, low, high) => {
    const [length, least] = index === 0 ? [plot.width, 55] : [plot.height, 22];
    const apart = (ticks) => ticks.slice(1).every((tick, i) => (Math.log(tick / ticks[i]) / Math.log(high / low)) * length >= least);
    const fitting = rounds.map((factors) => between(factors, low, high).filter((tick) => !whole || Number.isInteger(tick))).filter(apart);
    const ticks = fitting.length ? fitting[fitting.length - 1] : [];
    if (ticks.length > 1 || whole) return ticks;
    const rough = (high - low) / Math.max(2, Math.min(length / least / 2, 5));
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
    const steps = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++) steps.push(Number((n * step).toPrecision(12)));
    return steps;
  };
  const logarithmic = { splits: decades(false), filter: (_, ticks) => ticks };
  const wholes = { splits: decades(true), filter: (_, ticks) => ticks };

  const plots = new Map();
  const drawn = (kinds) => {
    document.querySelectorAll(".chart").forEach((figure) => {
      plots.get(figure)?.destroy();
      const { columns, ...options } = kinds(figure.dataset.chart) || {};
      if (!columns || columns.slice(1).every((column) => column.every((v) => v == null))) {
        figure.remove();
        return;
      }
      plots.set(figure, new uPlot({ width: figure.clientWidth, ...options }, columns, figure));
    });
  };
  // `kinds` makes the options of a chart from its name, or nothing where there is nothing to draw.
  const draw = (kinds) => {
    const again = () => drawn(kinds);
    const resize = () => plots.forEach((plot, figure) => plot.setSize({ width: figure.clientWidth, height: plot.height }));
    let closed = [];
    again();
    addEventListener("resize", resize);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    matchMedia("print").addEventListener("change", again);
    addEventListener("beforeprint", () => {
      closed = [...document.querySelectorAll("details:not([open])")];
      closed.forEach((part) => (part.open = true));
    });
    addEventListener("afterprint", () => closed.forEach((part) => (part.open = false)));
  };
  return { data, seconds, number, percent, told, colour, faint, axis, logarithmic, wholes, draw };
})();
