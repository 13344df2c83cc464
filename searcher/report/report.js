"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report-data").textContent);
  const picker = document.getElementById("picker");
  const status = document.getElementById("status");
  const drawn = new Set();
  const config = {
    displaylogo: false,
    typesetMath: false,
    showSendToCloud: false,  // on by default since plotly.js 4: it would offer to upload the figure
    plotlyServerURL: "",
    responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };
  document.body.classList.add("scripted");
  document.querySelectorAll("button[hidden]").forEach((button) => { button.hidden = false; });

  // Brushing: ranges of heights by axis; a model is chosen if it passes through all of them.
  const brushes = new Map();
  let chosen = null;  // a set of candidate numbers, null while nothing is brushed
  const stale = new Set();  // figures out of view, which follow when they come into it
  const isInView = (canvas) => {
    const { top, bottom } = canvas.getBoundingClientRect();
    return top < innerHeight + 100 && bottom > -100;
  };
  const isChosen = (n) => chosen === null || chosen.has(n);
  const brushable = (canvas) => {
    const lines = canvas.data.map(({ y }) => [...y]);
    const axes = canvas.layout.shapes ?? [];
    const redraw = () => {
      const ys = canvas.data.map(({ customdata }, k) => lines[k].map((y, i) => (isChosen(customdata[i]) ? y : null)));
      const boxes = [...brushes].map(([k, [low, high]]) => ({
        type: "rect", x0: k - 0.04, x1: k + 0.04, y0: low, y1: high,
        fillcolor: "rgba(0,114,178,0.22)", line: { color: "#0072B2", width: 1 },
      }));
      Plotly.update(canvas, { y: ys, selectedpoints: null }, { shapes: [...axes, ...boxes], selections: [] });
    };
    canvas.on("plotly_selected", (event) => {
      if (!event?.range) return;
      const [left, right] = [...event.range.x].sort((a, b) => a - b);
      const range = [...event.range.y].sort((a, b) => a - b);
      const last = Math.max(...canvas.data.flatMap(({ x }) => x));
      const inside = [...Array(last + 1).keys()].filter((k) => left <= k && k <= right);
      const nearest = Math.min(last, Math.max(0, Math.round((left + right) / 2)));
      (inside.length ? inside : [nearest]).forEach((k) => brushes.set(k, range));
      brush(redraw);
    });
    const clear = () => { brushes.clear(); brush(redraw); };
    canvas.on("plotly_deselect", clear);
    document.querySelector("button.clear-brush")?.addEventListener("click", clear);
  };
  const passes = (heights) => [...brushes].every(([k, [low, high]]) =>
    heights[k] !== null && low <= heights[k] && heights[k] <= high);
  const brush = (redraw) => {
    const all = Object.entries(report.heights);
    chosen = brushes.size ? new Set(all.filter(([, h]) => passes(h)).map(([n]) => Number(n))) : null;
    redraw();
    document.querySelectorAll(".canvas").forEach((canvas) => {
      if (!drawn.has(canvas.id) || canvas.layout.meta?.brush) return;
      if (isInView(canvas)) dim(canvas);
      else stale.add(canvas.id);
    });
    const rows = [...document.querySelectorAll("#scores tr[data-candidate]")];
    rows.forEach((row) => row.classList.toggle("brushed-out", !isChosen(Number(row.dataset.candidate))));
    const note = document.getElementById("brushed");
    note.hidden = chosen === null;
    note.querySelector("span").textContent = chosen === null ? "" : `${chosen.size} of ${all.length} drawn models pass.`;
  };
  const dim = (canvas) => {
    const traces = canvas.data.map((trace, k) => k).filter((k) => canvas.data[k].customdata);
    if (!traces.length) return;
    const points = traces.map((k) => chosen && canvas.data[k].customdata.flatMap((n, i) => (isChosen(n) ? [i] : [])));
    Plotly.restyle(canvas, { selectedpoints: points }, traces);
  };

  // Figures are drawn when they come near the window: thirty of them at once would freeze the page.
  const draw = (canvas) => {
    if (drawn.has(canvas.id)) return;
    drawn.add(canvas.id);
    const { data, layout } = report.figures[canvas.id];
    for (const trace of data) {
      if (!trace.customdata) continue;
      trace.hovertext = trace.customdata.map((n) => report.hover[n] ?? `point ${n}`);
      trace.unselected = { marker: { opacity: 0.06 } };
    }
    Plotly.newPlot(canvas, data, layout, config);
    if (layout.meta?.brush) brushable(canvas);
    else if (chosen) dim(canvas);
    canvas.on("plotly_click", (event) => {
      const candidate = event.points[0].customdata;
      if (Number.isInteger(candidate)) pick(candidate);
    });
  };
  const canvases = [...document.querySelectorAll(".canvas")];
  const observer = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "800px" },
  );
  const follower = new IntersectionObserver(
    (entries) => entries.forEach(({ isIntersecting, target }) => {
      if (isIntersecting && stale.delete(target.id)) dim(target);
    }),
    { rootMargin: "100px" },
  );
  canvases.forEach((canvas) => follower.observe(canvas));
  const isNear = (canvas) => canvas.getBoundingClientRect().top < innerHeight + 800;
  canvases.filter(isNear).forEach(draw);
  canvases.forEach((canvas) => observer.observe(canvas));
  addEventListener("beforeprint", () => {
    canvases.forEach(draw);
    canvases.filter((canvas) => stale.delete(canvas.id)).forEach(dim);
    document.querySelectorAll("#searched details").forEach((details) => { details.open = true; });
  });

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // browsers without the clipboard API for local files
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    await copy(button.dataset.command);
    const label = button.textContent;
    button.textContent = "Copied ✓";
    status.textContent = `Copied: ${button.dataset.command}`;
    button.disabled = true;
    setTimeout(() => { button.textContent = label; button.disabled = false; }, 1400);
  });

  // Hover labels hold escaped text and four tags; as plain text the tags go and the escapes are undone.
  const plain = (label) => label
    .replace(/<br>/g, "  ·  ").replace(/<\/?[bi]>/g, "")
    .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
  const pick = (candidate) => {
    const command = report.commands?.[candidate] ?? `${report.command}${candidate} --to export/point-${candidate}`;
    picker.querySelector(".picked").textContent = plain(report.hover[candidate] ?? `point ${candidate}`);
    picker.querySelector(".command").textContent = command;
    picker.querySelector(".copy").dataset.command = command;
    const link = picker.querySelector(".to-recipe");
    link.hidden = !document.getElementById(`recipe-${candidate}`);
    link.href = `#recipe-${candidate}`;
    document.querySelectorAll("tr.picked").forEach((row) => row.classList.remove("picked"));
    document.querySelector(`tr[data-candidate="${candidate}"]`)?.classList.add("picked");
    picker.hidden = false;
  };
  picker.querySelector(".close").addEventListener("click", () => { picker.hidden = true; });
  picker.querySelector(".to-recipe").addEventListener("click", (event) => {
    document.querySelector(event.target.getAttribute("href")).open = true;
  });

  document.querySelectorAll("button.zoom").forEach((button) => button.addEventListener("click", () => {
    const canvas = document.getElementById(button.dataset.figure);
    draw(canvas);
    const isZoomed = button.getAttribute("aria-pressed") !== "true";
    const key = isZoomed ? "zoom" : "all";
    button.setAttribute("aria-pressed", String(isZoomed));
    const [x, y] = canvas.layout.meta[key];
    const names = canvas.data.findIndex((trace) => trace.meta && trace.meta[key]);
    const [text, textposition] = names < 0 ? [[], []] : canvas.data[names].meta[key];
    const update = names < 0 ? {} : { text: [text], textposition: [textposition] };
    Plotly.update(canvas, update, { "xaxis.range": [...x], "yaxis.range": [...y] }, names < 0 ? [] : [names]);
  }));

  // Sorting moves the front's rows only; baselines stay on top in the order of the run.
  const body = document.querySelector("#scores tbody.front");
  document.querySelectorAll("#scores th.split").forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const direction = header.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
      document.querySelectorAll("#scores th.split").forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const value = (row) => parseFloat(row.querySelectorAll("td.score")[column].dataset.sort);
      const rows = [...body.querySelectorAll("tr[data-candidate]")];
      const isMissing = (row) => Number.isNaN(value(row));
      rows.sort((a, b) => isMissing(a) - isMissing(b) || sign * (value(a) - value(b)) || 0);
      body.append(...rows);
    });
  });
})();
