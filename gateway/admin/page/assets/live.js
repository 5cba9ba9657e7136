// How an open page is kept true. A page that nobody sees asks for nothing: browsers open six connections to a host at most.
import { morph } from "./morph.js";

const AGAIN_MS = 5000;
const link = document.getElementById("link");

function say(state, text) {
  link.hidden = false;
  link.className = `link ${state}`;
  if (link.textContent !== text) link.textContent = text;
}

// Calls `begin` while the page is seen, and what that returned when it no longer is.
export function whileSeen(begin) {
  let end = null;
  const look = () => {
    if (!document.hidden && !end) end = begin();
    else if (document.hidden && end) { end(); end = null; }
  };
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", () => { end?.(); end = null; });
  addEventListener("pageshow", look);
  look();
}

// Asks where nothing has to be put together. False also when nobody answers.
async function signedOut() {
  try {
    return (await fetch("/livez", { method: "HEAD" })).status === 401;
  } catch {
    return false;
  }
}

// The browser dials again by itself when a stream breaks, not when the server said no: then we do. Whose session has
// ended is shown the form instead.
export function listen(url, onMessage, onState) {
  let source = null;
  let timer = 0;
  let over = false;
  const refused = async () => {
    if (await signedOut()) location.reload();
    else if (!over) timer = setTimeout(dial, AGAIN_MS);
  };
  const dial = () => {
    source = new EventSource(url);
    source.onopen = () => onState("live");
    source.onmessage = (message) => onMessage(JSON.parse(message.data));
    source.onerror = () => {
      onState("lost");
      if (source.readyState === EventSource.CLOSED) refused();
    };
  };
  dial();
  return () => { over = true; clearTimeout(timer); source.close(); };
}

export function keepLive(url, onChange) {
  const take = ({ parts }) => {
    for (const [name, html] of Object.entries(parts)) {
      const section = document.getElementById(name);
      if (section) morph(section, html);
    }
    onChange();
  };
  const tell = (state) => say(state, state === "live" ? "live" : "connection lost, trying again");
  whileSeen(() => listen(url, take, tell));
}

// Asks for the page itself every few seconds and takes over what has changed, but for the feed, which is not the server's.
// While there is a reason in its place (the store is away, nobody knows the connection any more), what was shown last stays,
// and the reason stands where "live" did.
export function keepFresh(main, everySeconds, onChange) {
  const load = async () => {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.status === 401) return location.reload();
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok) return say("lost", `not up to date: ${page.querySelector("main p")?.textContent ?? answer.status}`);
      for (const section of page.querySelectorAll("main [data-live]")) {
        const here = document.getElementById(section.id);
        if (here) morph(here, section.outerHTML);
      }
      say("live", "live");
      onChange();
    } catch {
      say("lost", "connection lost, trying again");
    }
  };
  say("live", "live"); // it has just come
  whileSeen(() => {
    let over = false;
    let timer = 0;
    const later = () => { timer = setTimeout(again, everySeconds * 1000); };
    const again = async () => { await load(); if (!over) later(); };
    later();
    return () => { over = true; clearTimeout(timer); };
  });
}
