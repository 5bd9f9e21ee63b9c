// Asks the page how wide it is, and how each of its texts stands out from what is painted below it.
(() => {
  document.querySelectorAll("details").forEach((d) => { d.open = true; });
  const parse = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return { r, g, b, a };
  };
  const over = (top, below) => {
    const mix = (t, b) => t * top.a + b * (1 - top.a);
    return { r: mix(top.r, below.r), g: mix(top.g, below.g), b: mix(top.b, below.b), a: 1 };
  };
  // WCAG 2.2, relative luminance and contrast ratio.
  const luminance = ({ r, g, b }) => {
    const [R, G, B] = [r, g, b].map((c) => {
      c /= 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * R + 0.7152 * G + 0.0722 * B;
  };
  const contrast = (a, b) => {
    const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  // What an element paints: a pattern counts as its paper and, at worst, as its ink.
  const paints = (element) => {
    const style = getComputedStyle(element);
    if (!(element instanceof SVGElement) || element.tagName === "svg") return [parse(style.backgroundColor)];
    if (element.tagName === "text" || element.tagName === "path") return [];
    const pattern = style.fill.match(/url\("?#(\w+)"?\)/);
    if (!pattern) {
      const fill = parse(style.fill === "none" ? "0 0 0 0" : style.fill);
      return [{ ...fill, a: fill.a * Number(style.opacity) }];
    }
    const [paper, ink] = document.getElementById(pattern[1]).children;
    const drawn = getComputedStyle(ink);
    const line = parse(drawn.stroke === "none" ? drawn.fill : drawn.stroke);
    const plain = parse(getComputedStyle(paper).fill);
    return [plain, over({ ...line, a: Number(drawn.opacity) }, plain)];
  };
  const grounds = (element, x, y) => {
    const below = document.elementsFromPoint(x, y).filter((e) => e !== element).reverse();
    let seen = [{ r: 255, g: 255, b: 255, a: 1 }];
    for (const layer of below) {
      const paint = paints(layer);
      if (paint.length) seen = paint.flatMap((p) => seen.map((s) => over(p, s)));
    }
    return seen;
  };
  const texts = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].find((n) => n.nodeType === 3 && n.data.trim());
    if (!own || ["title", "desc", "style"].includes(element.tagName)) continue;
    element.scrollIntoView({ block: "center", inline: "nearest" });
    const range = document.createRange();
    range.selectNode(own);
    const at = range.getBoundingClientRect();
    if (!at.width) continue;
    const style = getComputedStyle(element);
    const ink = parse(element instanceof SVGElement ? style.fill : style.color);
    const points = [0.02, 0.25, 0.5, 0.75, 0.98].map((share) => at.left + at.width * share);
    const behind = points.filter((x) => x >= 0 && x < innerWidth).flatMap((x) => grounds(element, x, at.top + at.height / 2));
    const least = Math.min(...behind.map((ground) => contrast(over(ink, ground), ground)));
    if (behind.length) texts.push({ text: element.textContent.trim().slice(0, 40), contrast: least });
  }
  const width = document.documentElement.scrollWidth;
  document.querySelectorAll("details").forEach((d) => { d.open = false; });
  document.querySelectorAll(".scroll").forEach((d) => { d.scrollLeft = 0; });
  scrollTo(0, 0);
  const pictures = [...document.querySelectorAll("svg:not([aria-hidden])")];
  const named = (svg) => svg.querySelector(":scope > title") && svg.querySelector(":scope > desc");
  return {
    width,
    nameless: pictures.filter((svg) => !named(svg)).length + (pictures.length === 0),
    texts,
  };
})()
