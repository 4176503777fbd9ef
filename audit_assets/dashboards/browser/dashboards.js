// The pages' behavior in the browser. The URL is the state: filters, dates and charts only change the URL.
(function () {
  "use strict";

  function go(href) {
    const to = new URL(href, window.location.href);
    if (to.origin !== window.location.origin) {
      window.location.assign(to);
      return;
    }
    window.history.pushState({}, "", to);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    if (to.pathname !== here) {
      window.scrollTo(0, 0);
    }
    here = to.pathname;
  }
  let here = window.location.pathname;

  // Links between pages are followed without reloading all scripts; links of the tabs keep the range.
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link || link.target === "_blank" || link.hasAttribute("download")) return;
    const to = new URL(link.href, window.location.href);
    if (to.origin !== window.location.origin || /^\/(data|workspaces)\//.test(to.pathname)) return;
    if (link.closest("#nav-bar")) {
      const kept = new URLSearchParams(window.location.search);
      for (const name of [...kept.keys()]) if (!["range", "from", "to", "capability"].includes(name)) kept.delete(name);
      to.search = kept.toString();
    }
    event.preventDefault();
    event.stopPropagation();
    go(to.href);
  }, true);

  // A list of options closes on a click elsewhere or on Escape.
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.filter[open]")) {
      if (!open.contains(event.target)) open.removeAttribute("open");
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll("details.filter[open]")) {
      open.removeAttribute("open");
      open.querySelector("summary").focus();
    }
  });

  // Charts are drawn from the figure in their attribute: visible charts at once, the others when the browser is idle.
  const CONFIG = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false };
  const waiting = new Set();
  let idle = 0;

  function draw(chart) {
    waiting.delete(chart);
    if (!chart.isConnected || chart.drawn === chart.dataset.figure) return;
    const first = chart.drawn === undefined;
    chart.drawn = chart.dataset.figure;
    const figure = JSON.parse(chart.drawn);
    figure.layout.width = chart.clientWidth;
    figure.layout.height = chart.clientHeight;
    window.Plotly.react(chart, figure.data, figure.layout, CONFIG);
    if (!first) return;
    chart.on("plotly_click", (event) => {
      // Unified hover reports all bars of a day; use the bar under the pointer.
      const top = chart.getBoundingClientRect().top;
      const isUnderPointer = (point) => {
        const bar = (chart.calcdata[point.curveNumber] || [])[point.pointNumber];
        if (!bar || bar.s === undefined || !point.yaxis || point.yaxis.type === "category") return false;
        const value = point.yaxis.p2c(event.event.clientY - top - point.yaxis._offset);
        return bar.b <= value && value <= bar.b + bar.s;
      };
      const linked = event.points.filter((point) => typeof point.customdata === "string");
      const point = linked.find(isUnderPointer) || linked[0];
      if (point) go(point.customdata);
    });
    sizes.observe(chart);
  }

  function drawNext() {
    idle = 0;
    const [chart] = waiting;
    if (chart) draw(chart);
    if (waiting.size) idle = window.requestIdleCallback(drawNext, { timeout: 100 });
  }

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const { width, height } = target._fullLayout || {};
      if (width && (width !== target.clientWidth || height !== target.clientHeight) && target.clientWidth) {
        window.Plotly.relayout(target, { width: target.clientWidth, height: target.clientHeight });
      }
    }
  });

  function drawCharts() {
    const visible = [];
    for (const chart of document.querySelectorAll(".chart[data-figure]")) {
      if (chart.drawn === chart.dataset.figure) continue;
      const { top, bottom } = chart.getBoundingClientRect();
      if (top < window.innerHeight && bottom > 0) visible.push(chart);
      else waiting.add(chart);
    }
    visible.forEach(draw);
    if (waiting.size && !idle) idle = window.requestIdleCallback(drawNext, { timeout: 100 });
  }

  // Plotly is fetched at once and runs while the server renders the first page: it takes as long as all other scripts.
  function addPlotly() {
    const preload = document.getElementById("plotly-script");
    if (!preload || window.Plotly) return;
    const script = document.createElement("script");
    script.src = preload.href;
    script.onload = update;
    document.head.append(script);
  }
  const originalFetch = window.fetch;
  window.fetch = (...args) => {
    const response = originalFetch(...args);
    if (String(args[0]).includes("_dash-update-component")) setTimeout(addPlotly, 0);
    return response;
  };

  function update() {
    if (window.Plotly) drawCharts();
    for (const place of document.querySelectorAll(".dates")) {
      for (const name of ["from", "to"]) {
        const id = `date-${name}`;
        let input = place.querySelector(`#${id}`);
        if (!input) {
          const label = document.createElement("label");
          label.textContent = `${name} `;
          input = document.createElement("input");
          input.type = "date";
          input.id = id;
          label.append(input);
          place.append(label);
          input.addEventListener("change", () => {
            const query = new URLSearchParams(window.location.search);
            query.delete("range");
            for (const end of ["from", "to"]) {
              const value = place.querySelector(`#date-${end}`).value;
              if (value) query.set(end, value);
            }
            go(`${window.location.pathname}?${query}`);
          });
        }
        const value = place.dataset[name];
        if (input.dataset.shown !== value) {
          input.dataset.shown = value;
          input.value = value;
          input.max = place.dataset.today;
        }
      }
    }
    document.documentElement.lang = "en";
  }
  new MutationObserver(update).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-from", "data-to", "data-figure"] });

  function age(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
    return `${Math.floor(seconds / 86400)} days`;
  }
  // The server says how old the data were when it rendered the page; from then on the browser counts. An open page
  // must not stay green while the data age, and a browser's wrong clock must not make fresh data look old.
  const rendered = new WeakMap();
  function secondsOld(line) {
    const { synced, now } = line.dataset;
    if (rendered.get(line)?.now !== now) rendered.set(line, { now, at: Date.now() });
    const passed = Date.now() - rendered.get(line).at;
    return Math.max(0, Math.floor((Date.parse(now) - Date.parse(synced) + passed) / 1000));
  }
  setInterval(() => {
    for (const line of document.querySelectorAll("[data-synced]")) {
      const seconds = secondsOld(line);
      line.querySelector(".age").textContent = age(seconds);
      if (!line.dataset.notes) continue;
      const state = seconds <= Number(line.dataset.fresh) ? "fresh" : seconds <= Number(line.dataset.stale) ? "late" : "stale";
      line.className = `freshness ${state}`;
      line.querySelector(".note").textContent = JSON.parse(line.dataset.notes)[state];
    }
  }, 1000);
})();
