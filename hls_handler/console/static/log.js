// Adds new lines to the page of the log as they are written. The texts are untrusted: they are set as text, never as HTML.
"use strict";

(() => {
  const MAX_ROWS = 1000;
  const RETRY_MS = 30000; // after an HTTP error, for which EventSource does not connect again
  const controls = document.getElementById("live");
  const list = document.getElementById("lines");
  const button = controls.querySelector("button");
  const status = controls.querySelector("[role=status]");
  let position = controls.dataset.position;
  let source = null;
  let retry = 0;
  let isPaused = false;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function valueOf(field) {
    if (!field.link || !field.link.startsWith("/deliveries/")) return element("span", "", field.value);
    const link = element("a", "", field.value);
    link.href = field.link;
    return link;
  }

  function rowOf(line) {
    const row = element("li", line.level.toLowerCase());
    const parts = [
      element("time", "", line.time),
      element("span", "level", line.level),
      element("span", "message", line.message),
      element("span", "name", line.logger),
    ];
    for (const part of parts) row.append(part, " ");
    const fields = element("div");
    for (const field of line.fields) fields.append(element("span", "name", field.name), " ", valueOf(field), " ");
    row.append(fields);
    if (line.trace !== null) {
      const trace = element("pre", "", line.trace);
      trace.tabIndex = 0;
      const details = element("details");
      details.append(element("summary", "", "Stack trace"), trace);
      row.append(details);
    }
    return row;
  }

  function add(row) {
    document.getElementById("empty")?.remove();
    list.prepend(row);
    while (list.children.length > MAX_ROWS) list.lastElementChild.remove();
  }

  function note(text) {
    add(element("li", "gap", text));
  }

  function on(name, handle) {
    source.addEventListener(name, (event) => {
      position = event.lastEventId;
      handle(JSON.parse(event.data));
    });
  }

  function connect() {
    clearTimeout(retry);
    source = new EventSource(`${controls.dataset.events}&after=${encodeURIComponent(position)}`);
    source.onopen = () => { status.textContent = "New lines appear at the top."; };
    on("line", (line) => add(rowOf(line)));
    on("missed", (missed) => note(`Up to ${missed.lines} lines are missing here: they were written too fast for this page, or too long ago.`));
    on("other", () => note("The lines above are of another process, or of the service after a restart."));
    on("alive", () => {});
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) {
        status.textContent = "The connection was lost; connecting again.";
        return;
      }
      status.textContent = "No new lines: the session has ended, or too many pages show the log. Trying again in 30 s.";
      retry = setTimeout(connect, RETRY_MS);
    };
  }

  function resume() {
    isPaused = false;
    button.textContent = "Pause";
    connect();
  }

  // Browsers open at most six connections to a host, so hidden tabs would block all other pages.
  function follow() {
    if (isPaused) return;
    if (document.hidden) disconnect();
    else if (source === null) connect();
  }

  function disconnect() {
    clearTimeout(retry);
    source?.close();
    source = null;
  }

  function pause() {
    isPaused = true;
    disconnect();
    button.textContent = "Continue";
    status.textContent = "Paused.";
  }

  button.addEventListener("click", () => (isPaused ? resume() : pause()));
  document.addEventListener("visibilitychange", follow);
  controls.hidden = false;
  follow();
})();
