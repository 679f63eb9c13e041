"use strict";
(function () {
  var root = document.documentElement;
  var theme = document.getElementById("theme");
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  }
  function showTheme() { theme.setAttribute("aria-pressed", String(isDark())); }
  theme.addEventListener("click", function () {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  system.addEventListener("change", showTheme);
  showTheme();

  var opened = [];
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll("details:not([open])").forEach(function (d) {
      if (d.closest(".long")) { return; }  // Pages of defaults serve nobody on paper.
      d.open = true;
      opened.push(d);
    });
  });
  window.addEventListener("afterprint", function () {
    opened.splice(0).forEach(function (d) { d.open = false; });
  });

  document.querySelectorAll(".sortable").forEach(function (table) {
    var headings = Array.from(table.tHead.rows[0].cells), body = table.tBodies[0];
    function key(row, column) {
      var cell = row.cells[column];
      if (cell.dataset.number === undefined) { return cell.textContent; }
      return cell.dataset.number === "" ? null : Number(cell.dataset.number);
    }
    headings.forEach(function (heading, column) {
      heading.firstElementChild.addEventListener("click", function () {
        var down = heading.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
        headings.forEach(function (other) { other.removeAttribute("aria-sort"); });
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        Array.from(body.rows).sort(function (one, other) {
          var a = key(one, column), b = key(other, column);
          if (a === null || b === null) { return (a === null) - (b === null); }
          if (typeof a === "number") { return sign * (a - b); }
          return sign * a.localeCompare(b, undefined, { numeric: true });
        }).forEach(function (row) { body.appendChild(row); });
      });
    });
  });

  var viewer = document.getElementById("viewer");
  var stage = document.getElementById("stage");
  var views = document.getElementById("views");
  var level = document.getElementById("zoom-level");
  var title = document.getElementById("viewer-title");
  var scale = 1, x = 0, y = 0;

  function place() {
    var w = stage.clientWidth, h = stage.clientHeight;
    x = Math.min(0, Math.max(w - w * scale, x));
    y = Math.min(0, Math.max(h - h * scale, y));
    if (stage.firstChild) {
      stage.firstChild.style.transform = "translate(" + x + "px," + y + "px) scale(" + scale + ")";
    }
    level.value = Math.round(scale * 100) + " %";
  }
  // Zooms so that the point (at, down) of the stage stays where it is.
  function zoom(factor, at, down) {
    var before = scale;
    scale = factor ? Math.min(12, Math.max(1, scale * factor)) : 1;
    x = at - (at - x) * scale / before;
    y = down - (down - y) * scale / before;
    place();
  }
  function zoomMiddle(factor) { zoom(factor, stage.clientWidth / 2, stage.clientHeight / 2); }

  function show(panels, index) {
    views.querySelectorAll("button").forEach(function (button, i) {
      button.setAttribute("aria-pressed", String(i === index));
    });
    var copy = panels[index].querySelector("svg").cloneNode(true);
    copy.querySelectorAll("[id]").forEach(function (part) { part.removeAttribute("id"); });
    stage.replaceChildren(copy);
    place();
    explain(panels[index]);
  }
  // The legend of what is painted over the enlarged picture.
  function explain(panel) {
    var legend = document.getElementById("viewer-legend");
    if (!legend) { return; }
    var name = panel.querySelector(".panel-name").firstChild.textContent;
    var painted = panel.querySelector(".overlay") !== null;
    legend.querySelectorAll("[data-of]").forEach(function (list) {
      list.hidden = !painted || (list.dataset.of === "difference") !== (name === "Difference");
    });
  }
  function open(panel) {
    var group = panel.closest(".panels");
    var panels = Array.from(group.querySelectorAll(".panel"));
    title.textContent = group.dataset.title;
    views.replaceChildren.apply(views, panels.map(function (other, i) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = other.querySelector(".panel-name").firstChild.textContent;
      button.addEventListener("click", function () { show(panels, i); });
      return button;
    }));
    viewer.showModal();
    scale = 1; x = 0; y = 0;
    show(panels, panels.indexOf(panel));
    stage.focus();
  }
  document.querySelectorAll(".panel").forEach(function (panel) {
    panel.addEventListener("click", function () { open(panel); });
  });
  document.getElementById("viewer-close").addEventListener("click", function () { viewer.close(); });
  viewer.querySelectorAll("[data-zoom]").forEach(function (button) {
    button.addEventListener("click", function () { zoomMiddle(Number(button.dataset.zoom)); });
  });
  viewer.addEventListener("keydown", function (event) {
    var moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    var view = views.children[Number(event.key) - 1];
    if (event.ctrlKey || event.metaKey || event.altKey) { return; }
    if (event.key === "+" || event.key === "=") { zoomMiddle(1.5); }
    else if (event.key === "-") { zoomMiddle(1 / 1.5); }
    else if (event.key === "0") { zoomMiddle(0); }
    else if (moves[event.key]) { x += moves[event.key][0]; y += moves[event.key][1]; place(); }
    else if (view) { view.click(); }
    else { return; }
    event.preventDefault();
  });
  stage.addEventListener("wheel", function (event) {
    event.preventDefault();
    var box = stage.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  // One pointer moves the picture, two pinch it.
  var pointers = new Map();
  function middle() {
    var sum = [0, 0], n = pointers.size;
    pointers.forEach(function (p) { sum[0] += p[0] / n; sum[1] += p[1] / n; });
    return sum;
  }
  function reach() {
    var p = Array.from(pointers.values());
    return p.length > 1 ? Math.hypot(p[0][0] - p[1][0], p[0][1] - p[1][1]) : 0;
  }
  stage.addEventListener("pointerdown", function (event) {
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  stage.addEventListener("pointermove", function (event) {
    if (!pointers.has(event.pointerId)) { return; }
    var before = middle(), apart = reach(), box = stage.getBoundingClientRect();
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    var now = middle();
    x += now[0] - before[0];
    y += now[1] - before[1];
    if (apart) { zoom(reach() / apart, now[0] - box.left, now[1] - box.top); } else { place(); }
  });
  ["pointerup", "pointercancel"].forEach(function (name) {
    stage.addEventListener(name, function (event) { pointers.delete(event.pointerId); });
  });
  window.addEventListener("resize", place);
})();
