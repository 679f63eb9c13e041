// Pointers on a canvas as gestures. With `draw` one finger or the left button draws, and two fingers,
// the other buttons or Space move the picture; without it one finger or the left button moves it.

// `on`: { pan(dx, dy), zoom(factor, place), scroll(direction) or null, hover(place or null),
// draw: () => null or { down(place, event), move(place, event), up(place), cancel() } }; places are
// [x, y] in CSS pixels of the canvas.
export function listenTo(canvas, on) {
  const pointers = new Map();
  let drawing = null;
  let space = false;
  let scrolled = 0;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const middle = () => {
    const [a, b] = [...pointers.values()];
    return { center: [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], far: Math.hypot(a[0] - b[0], a[1] - b[1]) || 1 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    if (pointers.size > 1) {
      drawing?.cancel();
      drawing = null;
      return;
    }
    const tool = on.draw();
    if (tool && event.button === 0 && !space) {
      drawing = tool;
      tool.down(place(event), event);
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event);
    if (!pointers.has(event.pointerId)) return on.hover(now);
    const before = pointers.get(event.pointerId);
    if (pointers.size === 1) {
      pointers.set(event.pointerId, now);
      if (!drawing) return on.pan(now[0] - before[0], now[1] - before[1]);
      for (const part of event.getCoalescedEvents?.() ?? []) drawing.move(place(part), part);
      drawing.move(now, event);
      return on.hover(now);
    }
    const was = middle();
    pointers.set(event.pointerId, now);
    const is = middle();
    on.pan(is.center[0] - was.center[0], is.center[1] - was.center[1]);
    on.zoom(is.far / was.far, is.center);
  });
  const end = (cancel) => (event) => {
    if (!pointers.delete(event.pointerId)) return;
    if (drawing) cancel ? drawing.cancel() : drawing.up(place(event));
    drawing = null;
  };
  canvas.addEventListener("pointerup", end(false));
  canvas.addEventListener("pointercancel", end(true));
  canvas.addEventListener("pointerleave", () => on.hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!on.scroll || event.ctrlKey || event.metaKey) return on.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), place(event));
    // Trackpads send many small steps.
    scrolled += event.deltaMode ? 40 * event.deltaY : event.deltaY;
    const steps = Math.trunc(scrolled / 40);
    scrolled -= 40 * steps;
    if (steps) on.scroll(Math.sign(steps));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => { if (event.key === " ") space = true; });
  canvas.addEventListener("keyup", (event) => { if (event.key === " ") space = false; });
}
