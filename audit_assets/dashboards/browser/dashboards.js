// What the pages do in the browser: the address is the state, so filters, dates and charts only ever change the address.
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

  // Links within the pages are followed without loading all scripts again; those of the tabs carry the range on.
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

  // A list of options closes when something else is clicked, or Escape is pressed.
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

  // Charts are drawn from the figure in their attribute: those in sight at once, the others when the browser has time.
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
      // A hover that compares a whole day names all of its bars: the one under the pointer is meant.
      const top = chart.getBoundingClientRect().top;
      const under = (one) => {
        const bar = (chart.calcdata[one.curveNumber] || [])[one.pointNumber];
        if (!bar || bar.s === undefined || !one.yaxis || one.yaxis.type === "category") return false;
        const value = one.yaxis.p2c(event.event.clientY - top - one.yaxis._offset);
        return bar.b <= value && value <= bar.b + bar.s;
      };
      const linked = event.points.filter((one) => typeof one.customdata === "string");
      const point = linked.find(under) || linked[0];
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
    const sight = [];
    for (const chart of document.querySelectorAll(".chart[data-figure]")) {
      if (chart.drawn === chart.dataset.figure) continue;
      const { top, bottom } = chart.getBoundingClientRect();
      if (top < window.innerHeight && bottom > 0) sight.push(chart);
      else waiting.add(chart);
    }
    sight.forEach(draw);
    if (waiting.size && !idle) idle = window.requestIdleCallback(drawNext, { timeout: 100 });
  }

  // Plotly is fetched at once, and run while the server makes the first page: to run it takes as long as all the rest.
  function addPlotly() {
    const preload = document.getElementById("plotly-script");
    if (!preload || window.Plotly) return;
    const script = document.createElement("script");
    script.src = preload.href;
    script.onload = tend;
    document.head.append(script);
  }
  const ask = window.fetch;
  window.fetch = (...asked) => {
    const answer = ask(...asked);
    if (String(asked[0]).includes("_dash-update-component")) setTimeout(addPlotly, 0);
    return answer;
  };

  function tend() {
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
            const asked = new URLSearchParams(window.location.search);
            asked.delete("range");
            for (const one of ["from", "to"]) {
              const value = place.querySelector(`#date-${one}`).value;
              if (value) asked.set(one, value);
            }
            go(`${window.location.pathname}?${asked}`);
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
  new MutationObserver(tend).observe(document.documentElement, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-from", "data-to", "data-figure"] });

  function age(seconds) {
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
    if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
    return `${Math.floor(seconds / 86400)} days`;
  }
  setInterval(() => {
    for (const place of document.querySelectorAll("[data-synced] .age, .age[data-synced]")) {
      const since = Date.parse(place.closest("[data-synced]").dataset.synced);
      place.textContent = age(Math.max(0, Math.floor((Date.now() - since) / 1000)));
    }
  }, 1000);
})();
