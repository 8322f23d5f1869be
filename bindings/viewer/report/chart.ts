import uPlot from "uplot";
import type { ChartSection } from "../../report/story.js";
import { colour, el, folded, onRepaint } from "./dom.js";
import { tableOf } from "./table.js";

const HEIGHT = 220;
const COLOURS = 8;
/** Besides colour, lines differ in their dashes. */
const DASHES: readonly number[][] = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

function optionsOf({ x, series, drawn }: ChartSection, width: number): uPlot.Options {
  const axis = { stroke: colour("ink"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
  const single = series.length === 1;
  const paths = drawn === "bars" && single ? uPlot.paths.bars?.({ size: [0.9] }) : uPlot.paths.stepped?.({ align: 1 });
  return {
    width,
    height: HEIGHT,
    scales: { x: { time: false }, y: { range: (_, __, max) => [0, Math.max(1, max * 1.05)] } },
    axes: [
      { ...axis, label: x.name },
      { ...axis, size: 70 },
    ],
    series: [
      { label: x.name },
      ...series.map(({ name }, i) => ({
        label: name,
        stroke: colour(`c${i % COLOURS}`),
        width: 1.5,
        dash: DASHES[i % DASHES.length] ?? [],
        points: { show: false },
        ...(paths ? { paths } : {}),
        ...(single ? { fill: colour("c0", 0.33) } : {}),
      })),
    ],
  };
}

/** Lines or bars, and the same as a table. */
export function chartOf(section: ChartSection): HTMLElement {
  const { x, series, title } = section;
  const place = el("div", { class: "chart", role: "img", "aria-label": `${title}; the table below has the numbers` });
  let plot: uPlot | undefined;
  const paint = () => {
    plot?.destroy();
    const data = [x.values, ...series.map(({ values }) => values)] as uPlot.AlignedData;
    plot = new uPlot(optionsOf(section, Math.max(280, place.clientWidth)), data, place);
  };
  onRepaint(paint);
  const rows = () =>
    tableOf({
      kind: "table",
      title,
      columns: [{ name: x.name }, ...series.map(({ name }) => ({ name }))],
      rows: x.values.map((at, i) => [at, ...series.map(({ values }) => values[i] ?? "")]),
    });
  return el("div", {}, place, folded("The numbers", rows));
}
