// Lines on a grid of 24 x 24.
const PATHS = {
  brush: "M9.5 14.5 19 4a1.5 1.5 0 0 1 2 2l-9.5 10M9 14a4 4 0 0 1 2.500 3.500C11.500 20 9 21 3 20.500c1.500-1 1.500-2 2-3.500A4 4 0 0 1 9 14Z",
  eraser: "M7 20h13M4.500 14.500 14 5a1.800 1.800 0 0 1 2.500 0L20 8.500a1.800 1.800 0 0 1 0 2.500l-9 9H8l-3.500-3.500a1.400 1.400 0 0 1 0-2ZM9 10l6 6",
  fill: "M12 3 4.500 10.500a1.500 1.500 0 0 0 0 2.100l5.400 5.400a1.500 1.500 0 0 0 2.100 0L19 11 9 1M4 12h14M20.500 15c1 1.500 1.500 2.500 1.500 3.300a1.500 1.500 0 0 1-3 0c0-.8.500-1.800 1.500-3.300Z",
  polygon: "M5 8 13 4l7 6-3 9-10 1ZM5 8h.01M13 4h.01M20 10h.01M17 19h.01M7 20h.01",
  similar: "M4 20 14.500 9.500M16.500 7.500 18 6M16 2v2.500M22 8h-2.500M11 4l1.500 1.500M20 13l-1.500-1.500",
  hand: "M8 12V6a1.500 1.500 0 0 1 3 0v5-7a1.500 1.500 0 0 1 3 0v7-5a1.500 1.500 0 0 1 3 0v8c0 4-2 7-6 7s-5-2-7.500-6.500a1.500 1.500 0 0 1 2.500-1.500L8 15",
  undo: "M8 5 4 9l4 4M4 9h10a6 6 0 0 1 0 12h-4",
  redo: "m16 5 4 4-4 4M20 9H10a6 6 0 0 0 0 12h4",
  check: "m4 12.500 5.500 5.500L20 7",
  cross: "M6 6l12 12M18 6 6 18",
  pencil: "M4 20l1-5L16 4l4 4L9 19ZM14 6l4 4",
  next: "M5 12h14M13 6l6 6-6 6",
  back: "M19 12H5M11 6l-6 6 6 6",
  plus: "M12 5v14M5 12h14",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M5 19l1.400-1.400M17.600 6.400 19 5",
  question: "M9 9a3 3 0 1 1 4.500 2.600c-1 .6-1.500 1.200-1.500 2.400M12 17.500h.01",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
};
const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}
