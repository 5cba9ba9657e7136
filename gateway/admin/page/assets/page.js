// A page that is open stays true: the overview by a stream, the others by asking again. The server renders; see morph.js.
import { drawCharts } from "./charts.js";
import { keepConfirming } from "./confirm.js";
import { startFeed } from "./feed.js";
import { keepLive, keepFresh } from "./live.js";

const main = document.getElementById("main");
const stream = main.querySelector("[data-stream]");
const again = main.querySelector("[data-refresh]");
const feed = main.querySelector("[data-feed]");

for (const details of main.querySelectorAll("details")) details.open = false; // open for those without charts
drawCharts(main);
keepConfirming(main);
if (stream) keepLive(stream.dataset.stream, () => drawCharts(main));
if (again) keepFresh(main, Number(again.dataset.refresh), () => drawCharts(main));
if (feed) startFeed(feed);
