// Calls and events as they happen: a sample that the server takes, filtered there by kind and tenant, here by text.
import { listen, whileSeen } from "./live.js";

const MOST_ROWS = 100;
const PER_S = 10;
const HEADS = ["time", "tenant", "call", "status", "decision", "limit", "connection", "ms"];
const KINDS = { "calls and events": "", "calls": "event=http.access", "refused calls": "limited=1", "events": "event=breaker.*,connection.*,upstream.*,store.*,policy.*,admin.*,limit.*,config.*" };

export function startFeed(place) {
  const parts = build(place);
  let end = null;
  let seen = false;
  const begin = () => {
    end?.();
    end = parts.paused || !seen ? null : listen(address(place, parts), (line) => take(line, parts), (state) => {
      parts.state.textContent = state === "live" ? "" : "Not connected, trying again.";
    });
  };
  parts.kind.addEventListener("change", begin);
  parts.tenant.addEventListener("change", begin);
  parts.connection.addEventListener("change", begin);
  parts.text.addEventListener("input", () => { for (const row of parts.body.rows) show(row, parts); });
  parts.pause.addEventListener("click", () => {
    parts.paused = !parts.paused;
    parts.pause.textContent = parts.paused ? "Go on" : "Pause";
    begin();
  });
  whileSeen(() => {
    seen = true;
    begin();
    return () => { seen = false; begin(); };
  });
}

function address(place, parts) {
  const query = [KINDS[parts.kind.value], `per_s=${PER_S}`];
  for (const name of ["tenant", "connection"]) if (parts[name].value) query.push(`${name}=${encodeURIComponent(parts[name].value)}`);
  return `${place.dataset.feed}?${query.filter(Boolean).join("&")}`;
}

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function build(place) {
  const kind = make("select", { id: "feed-kind" }, ...Object.keys(KINDS).map((name) => make("option", { value: name }, name)));
  const tenant = make("input", { id: "feed-tenant", value: place.dataset.tenant ?? "", autocomplete: "off" });
  const connection = make("input", { id: "feed-connection", value: place.dataset.connection ?? "", autocomplete: "off" });
  const text = make("input", { id: "feed-text", type: "search", autocomplete: "off" });
  const pause = make("button", { type: "button" }, "Pause");
  const state = make("p", { className: "quiet" });
  const head = make("tr", {}, ...HEADS.map((name) => make("th", { scope: "col" }, name)));
  const body = make("tbody");
  const caption = make("caption", {}, "The last hundred of a sample, the newest first");
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, make("table", {}, caption, make("thead", {}, head), body));
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-label", "Calls as they happen");
  const asked = (name, field) => make("span", { className: "asked" }, make("label", { htmlFor: field.id }, name), field);
  const form = make("form", {}, asked("Show", kind), asked("of tenant", tenant), asked("of connection", connection), asked("containing", text), pause);
  form.addEventListener("submit", (submit) => { submit.preventDefault(); document.activeElement.blur(); });
  place.append(form, state, scroll);
  return { kind, tenant, connection, text, pause, state, body, dropped: 0, paused: false };
}

function take(line, parts) {
  if (line.event_name === "stream.dropped") {
    parts.dropped += line.count;
    parts.state.textContent = `${parts.dropped.toLocaleString("en")} more came and are not shown.`;
    return;
  }
  const row = make("tr", {}, ...(line.event_name === "http.access" ? call(line) : event(line)));
  show(row, parts);
  parts.body.prepend(row);
  while (parts.body.rows.length > MOST_ROWS) parts.body.lastChild.remove();
}

const USUAL = new Set(["upstream", "limit"]); // who answers needs saying only when it is neither
const cell = (text, className = "") => make("td", { className, title: String(text ?? "") }, String(text ?? ""));
const time = (line) => make("th", { scope: "row" }, line.timestamp.slice(11, 23));

function call(line) {
  const said = [line.decision, USUAL.has(line.response_source) ? "" : line.response_source].filter(Boolean).join(", by ");
  const kind = line.status >= 500 ? "bad" : line.decision === "limited" ? "warn" : "";
  const decision = kind ? make("td", {}, make("span", { className: `mark ${kind}` }, said)) : cell(said);
  return [time(line), cell(line.tenant ?? line.account), cell(`${line.method} ${line.path}`), cell(line.status), decision, cell(line.limit_fired), connection(line), cell(line.duration_ms?.toFixed(1), "number")];
}

function connection(line) {
  if (!line.connection) return cell("");
  const href = `/connections/${encodeURIComponent(line.connection)}?tenant=${encodeURIComponent(line.tenant ?? "")}`;
  return make("td", {}, make("a", { href }, line.connection));
}

const LEFT_OUT = new Set(["timestamp", "level", "message", "event_name", "schema", "service_name", "service_version", "instance", "worker", "policy_version"]);

function event(line) {
  const details = Object.entries(line).filter(([name]) => !LEFT_OUT.has(name)).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`);
  const kind = { error: "bad", warning: "warn" }[line.level] ?? "plain";
  const text = make("td", { className: "detail", colSpan: HEADS.length - 1 }, make("span", { className: `mark ${kind}` }, line.event_name), ` ${details.join(" · ").slice(0, 400)}`);
  return [time(line), text];
}

function show(row, parts) {
  row.hidden = !row.textContent.toLowerCase().includes(parts.text.value.toLowerCase());
}
