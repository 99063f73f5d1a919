"use strict";
(() => {
  const holder = document.getElementById("viewer-data");
  if (!holder) return;
  const {cases, regions} = JSON.parse(holder.textContent);
  const [chooseCase, chooseModality] = ["viewer-case", "viewer-modality"].map(id => document.getElementById(id));
  const tiles = document.getElementById("viewer-tiles");
  const OPACITY = 0.5;

  const picture = async uri => {
    const image = new Image();
    image.src = uri;
    await image.decode();
    return image;
  };
  const pixels = (image, width, height) => {
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  };
  const layers = regions.map(region => ({
    has: new Set(region.labels), rgb: [1, 3, 5].map(i => parseInt(region.colour.slice(i, i + 2), 16)),
  }));
  // The label of a pixel of the tile; the maps of a case lie one below the other.
  const labelOf = (of, labels, map) => {
    const [width, height] = of.size;
    return (x, y) => {
      const row = map * of.rows + Math.min(of.rows - 1, Math.floor(y * of.rows / height));
      const column = Math.min(of.columns - 1, Math.floor(x * of.columns / width));
      return labels.data[4 * (row * of.columns + column)];
    };
  };
  const paint = (of, grey, labels, map) => {
    const [width, height] = of.size;
    const canvas = Object.assign(document.createElement("canvas"), {width, height});
    const shown = new ImageData(new Uint8ClampedArray(grey.data), width, height);
    const [label, reference] = [labelOf(of, labels, map), labelOf(of, labels, 0)];
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      for (const layer of layers) if (layer.has.has(label(x, y)))
        for (let i = 0; i < 3; i++) shown.data[at + i] = (1 - OPACITY) * grey.data[at + i] + OPACITY * layer.rgb[i];
      for (const layer of layers) if (layer.has.has(reference(x, y))) {
        const inside = (u, v) => u < 0 || v < 0 || u >= width || v >= height || layer.has.has(reference(u, v));
        if (!(inside(x - 1, y) && inside(x + 1, y) && inside(x, y - 1) && inside(x, y + 1)))
          shown.data.set([255, 255, 255], at);
      }
    }
    canvas.getContext("2d").putImageData(shown, 0, 0);
    return canvas;
  };
  let latest = 0;
  const show = async () => {
    const turn = ++latest, of = cases[chooseCase.value];
    const [image, maps] = await Promise.all([picture(of.images[chooseModality.value]), picture(of.labels)]);
    if (turn !== latest) return;
    const grey = pixels(image, ...of.size);
    const labels = pixels(maps, of.columns, of.rows * (of.predictions.length + 1));
    const captions = [{subset: "Reference"}, ...of.predictions];
    tiles.replaceChildren(...captions.map((caption, map) => {
      const figure = document.createElement("figure"), text = document.createElement("figcaption");
      const canvas = paint(of, grey, labels, map);
      const dice = caption.dice === undefined ? "" : " " + caption.dice.toFixed(3);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${of.name}, ${caption.subset}${dice && ", Dice" + dice}`);
      const dots = caption.dots ? caption.dots.map(there => there ? "●" : "○").join("") + " " : "";
      if (dots) text.append(Object.assign(document.createElement("span"), {className: "dots", textContent: dots}));
      text.append(caption.subset.replaceAll("+", "+\u200b"));
      if (dice) text.append(Object.assign(document.createElement("strong"), {textContent: dice}));
      figure.append(canvas, text);
      return figure;
    }));
  };
  const options = names => names.map((name, index) => new Option(name, index));
  const chosen = () => {
    const before = chooseModality.selectedOptions[0]?.text, names = cases[chooseCase.value].modalities;
    chooseModality.replaceChildren(...options(names));
    chooseModality.value = Math.max(0, names.indexOf(before));
    return show();
  };
  chooseCase.replaceChildren(...options(cases.map(of => of.name)));
  chooseCase.addEventListener("change", chosen);
  chooseModality.addEventListener("change", show);
  chosen();
})();
