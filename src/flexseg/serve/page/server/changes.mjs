// Tells of cases and jobs that have changed: by the server's events, and by asking now and then where those
// do not arrive.
const SECONDS = 3;

// Calls `changed({ case, job })` with the ids of what has changed; without any if all may have. Returns
// what ends it. A page that is hidden does not listen: browsers keep few connections to one server,
// for all their pages.
export function watch(changed) {
  let source = null;
  let timer;
  const ask = () => changed({});
  function begin() {
    source = new EventSource("api/events");
    source.addEventListener("message", ({ data }) => changed(JSON.parse(data)));
    source.addEventListener("open", () => { clearInterval(timer); timer = undefined; });
    source.addEventListener("error", () => { timer ??= setInterval(ask, SECONDS * 1000); });
  }
  function end() {
    source?.close();
    source = null;
    clearInterval(timer);
    timer = undefined;
  }
  function turn() {
    end();
    if (document.hidden) return;
    begin();
    ask();
  }
  document.addEventListener("visibilitychange", turn);
  if (!document.hidden) begin();
  return () => { document.removeEventListener("visibilitychange", turn); end(); };
}

// Runs `action` at most every `seconds`, and once more after the last call.
export function atMostEvery(seconds, action) {
  let waiting;
  let last = -Infinity;
  return () => {
    if (waiting) return;
    const pause = Math.max(0, last + seconds * 1000 - performance.now());
    waiting = setTimeout(() => { waiting = undefined; last = performance.now(); action(); }, pause);
  };
}
