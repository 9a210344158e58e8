// The pictures of the page, and a table that sorts. Whatever comes from the image is text here:
// in the document by textContent, in a picture by `plain`.
"use strict";
(() => {
  const values = JSON.parse(document.getElementById("values").textContent);
  const tree = values.tree;
  const byId = (id) => document.getElementById(id);
  const narrow = () => window.innerWidth < 640;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const exact = (size) => `${size.toLocaleString("en-US")} ${size === 1 ? "byte" : "bytes"}`;

  // Plotly reads tags, entities and, between dollars, formulas in a text, and nothing else.
  const plain = (text) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll("$", "&#36;");
  const short = (text, length, begin = 1 / 3) => {
    const letters = Array.from(text);
    if (letters.length <= length) return text;
    const front = Math.floor((length - 1) * begin);
    const tail = length - 1 - front;
    return letters.slice(0, front).join("") + "…" + (tail ? letters.slice(-tail).join("") : "");
  };
  const lines = (text, length) => {
    const letters = Array.from(text);
    const cut = [];
    for (let at = 0; at < letters.length && cut.length < 4; at += length) {
      cut.push(plain(letters.slice(at, at + length).join("")));
    }
    return cut.join("<br>") + (letters.length > 4 * length ? "…" : "");
  };
  const share = (part, whole) => {
    if (!whole || !part) return "0 %";
    const percent = (100 * part) / whole;
    if (percent < 0.1) return "< 0.1 %";
    if (part >= whole) return "100 %";
    return `${Math.min(percent, 99.9).toFixed(1)} %`;
  };

  const config = { displayModeBar: false, responsive: true, doubleClick: false, showTips: false };
  const look = (more) => ({
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--ink") },
    hoverlabel: {
      bgcolor: colour("--panel"),
      bordercolor: colour("--line"),
      font: { color: colour("--ink"), size: 13 },
      align: "left",
      namelength: 0,
    },
    separators: ".,",
    ...more,
  });

  // ---- The map -----------------------------------------------------------------------------
  const below = tree.name.map(() => []);
  tree.parent.forEach((parent, node) => parent >= 0 && below[parent].push(node));
  for (const nodes of below) nodes.sort((one, two) => tree.size[two] - tree.size[one] || one - two);
  const kind = (node) => tree.kind[node];
  const category = (node) => values.categories[tree.category[node]] ?? "hidden";

  const label = (node) => {
    const name = tree.name[node];
    switch (kind(node)) {
      case "d":
        return name.slice(name.lastIndexOf("/") + 1) + "/";
      case "k":
        return tree.files[node] > 1 ? `${tree.files[node].toLocaleString("en-US")} × ${name}` : name;
      default:
        return name;
    }
  };
  // An owner gives up its version, then its kind, before it is cut.
  const fitting = (node, letters) => {
    const name = label(node);
    if (kind(node) !== "o") return short(name, letters, kind(node) === "f" ? 1 / 3 : 1);
    const bare = name.split(" ")[0];
    const own = bare.slice(bare.indexOf(":") + 1);
    return [name, bare, own].find((text) => text.length <= letters) ?? short(own, letters, 1);
  };
  const path = (node) => {
    const steps = [];
    for (; node > 0 && !"oh".includes(kind(node)); node = tree.parent[node]) {
      if (kind(node) !== "k") steps.unshift(tree.name[node]);
    }
    return steps.join("/");
  };
  const figures = (node) => {
    const told = [`${exact(tree.size[node])} · ${share(tree.size[node], tree.size[0])} of the image`];
    if (tree.files[node] > 1) told.push(`${tree.files[node].toLocaleString("en-US")} files`);
    return told.join(" · ");
  };
  const holds = (node) => {
    if (kind(node) === "h") return "overwritten or deleted by a later layer, and shipped all the same";
    return below[node].length && kind(node) !== "k" ? `mostly ${category(node)}` : category(node);
  };
  const tip = (node) => {
    const place = path(node);
    return [
      `<b>${plain(short(label(node), 60))}</b>  ${tree.told[node]}`,
      plain(figures(node)),
      plain(holds(node)),
      ...(place ? [lines(place, 56)] : []),
    ].join("<br>");
  };

  let level = 0; // the node that fills the map
  let at = -1; // the node that the keyboard stands on

  // What is drawn: a node is opened where it has room for its parts, and left out where it has
  // none for itself; a folder that is nearly all of what it lies in is passed over, for another
  // frame around the same would tell nothing. `room` is in square pixels, before the layout.
  const OPENED = 14_000;
  const SEEN = 40;
  const NEARLY_ALL = 0.95;
  const drawn = () => {
    const box = byId("tiles");
    const scale = (box.clientWidth * box.clientHeight) / tree.size[level];
    const shown = new Map(); // node → what it is drawn in, its name, whether its parts are drawn
    const todo = [[level, level]];
    while (todo.length) {
      const [from, frame] = todo.pop();
      let node = from;
      while (below[node].length) {
        const first = below[node][0];
        if (!below[first].length || tree.size[first] < NEARLY_ALL * tree.size[from]) break;
        node = first;
      }
      const room = tree.size[from] * scale;
      const parts =
        room < OPENED ? [] : below[node].filter((part) => tree.size[part] * scale >= SEEN);
      if (from !== level) {
        const letters = Math.max(4, Math.floor(Math.sqrt(room) / 8));
        shown.set(from, { frame, name: fitting(from, letters), open: parts.length > 0 });
      }
      for (const part of parts) todo.push([part, from]);
    }
    return shown;
  };

  const paint = () => {
    const shown = drawn();
    const nodes = Array.from(shown.keys());
    let here = at;
    while (here >= 0 && !shown.has(here)) here = tree.parent[here];
    const tints = nodes.map((node) => {
      if (shown.get(node).open) return colour("--panel");
      return tree.category[node] < 0 ? colour("--gone") : colour(`--k${tree.category[node]}`);
    });
    const pick = (one, other) => nodes.map((node) => (shown.get(node).open ? one : other));
    const mark = (one, other) => nodes.map((node) => (node === here ? one : other));
    const trace = {
      type: "treemap",
      branchvalues: "total",
      ids: nodes.map((node) => `n${node}`),
      parents: nodes.map((node) => {
        const { frame } = shown.get(node);
        return frame === level ? "" : `n${frame}`;
      }),
      labels: nodes.map((node) => plain(shown.get(node).name)),
      values: nodes.map((node) => tree.size[node]),
      text: nodes.map((node) => tree.told[node]),
      hovertext: nodes.map(tip),
      hoverinfo: "text",
      textinfo: "label+text",
      textfont: { color: colour("--ink") },
      texttemplate: pick("%{label}  %{text}", "%{label}<br>%{text}"),
      marker: {
        colors: tints,
        line: {
          color: mark(colour("--accent"), colour("--paper")),
          width: mark(4, 1),
        },
        pad: { t: 24, l: 3, r: 3, b: 3 },
        cornerradius: 3,
      },
      tiling: { pad: 2 },
      pathbar: { visible: false },
      root: { color: "rgba(0,0,0,0)" },
      sort: true,
    };
    const layout = look({
      margin: { t: 0, l: 0, r: 0, b: 0 },
      uniformtext: { minsize: 12, mode: "hide" },
    });
    return Plotly.react("tiles", [trace], layout, config);
  };
  let due = 0; // a held key asks for more pictures than there are frames
  const repaint = () => {
    due ||= requestAnimationFrame(() => {
      due = 0;
      paint();
    });
  };

  const trail = () => {
    const steps = [];
    for (let node = level; node >= 0; node = tree.parent[node]) steps.unshift(node);
    byId("trail").replaceChildren(
      ...steps.map((node) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = kind(node) === "d" ? tree.name[node] : label(node);
        if (node === level) button.setAttribute("aria-current", "location");
        button.addEventListener("click", () => zoom(node));
        item.append(button);
        return item;
      }),
    );
  };

  const tell = (node) => {
    const place = path(node);
    const name = place && kind(node) === "k" ? `${label(node)} in ${place}` : place || label(node);
    const owner = (() => {
      let above = node;
      while (above > 0 && kind(above) !== "o") above = tree.parent[above];
      return above > 0 && above !== node ? ` · ${tree.name[above]}` : "";
    })();
    byId("here").textContent = `${name} · ${tree.told[node]} · ${figures(node)} · ${holds(node)}${owner}`;
  };

  // Stand on a node (-1: on none) of the map of another: the one place that moves.
  const go = (where, node) => {
    const moved = where !== level;
    level = where;
    at = node;
    if (moved) trail();
    tell(at < 0 ? level : at);
    repaint();
  };
  const zoom = (node) => (below[node].length ? go(node, -1) : go(Math.max(tree.parent[node], 0), node));
  const beside = (step) => {
    if (at < 0) return below[level].length ? go(level, below[level].at(step > 0 ? 0 : -1)) : undefined;
    const nodes = below[tree.parent[at]];
    return go(level, nodes[(nodes.indexOf(at) + step + nodes.length) % nodes.length]);
  };
  const keys = {
    ArrowRight: () => beside(1),
    ArrowLeft: () => beside(-1),
    ArrowDown: () => {
      const above = at < 0 ? level : at;
      if (!below[above].length) return;
      const first = below[above][0];
      go(drawn().has(first) ? level : above, first);
    },
    ArrowUp: () => {
      const above = at < 0 ? level : tree.parent[at];
      if (above === 0) go(0, -1);
      else go(above === level ? tree.parent[above] : level, above);
    },
    Home: () => go(level, below[at < 0 ? level : tree.parent[at]][0] ?? -1),
    End: () => go(level, below[at < 0 ? level : tree.parent[at]].at(-1) ?? -1),
    Enter: () => at >= 0 && zoom(at),
    Escape: () => (level === 0 ? go(0, -1) : go(tree.parent[level], level)),
  };
  keys[" "] = keys.Enter;
  keys.Backspace = keys.Escape;

  const map = byId("map");
  map.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  });

  // ---- Layers, and before and after ----------------------------------------------------------
  const bars = (place, traces, names, more) => {
    const rows = names.length;
    const layout = look({
      barmode: "stack",
      bargap: 0.25,
      showlegend: false,
      height: 26 * rows + 44,
      margin: { t: 4, r: narrow() ? 60 : 90, b: 36, l: 8 },
      xaxis: {
        tickformat: "~s",
        ticksuffix: "B",
        nticks: narrow() ? 4 : 8,
        gridcolor: colour("--line"),
        zeroline: false,
        fixedrange: true,
        tickfont: { color: colour("--soft"), size: 12 },
        automargin: true,
      },
      yaxis: {
        autorange: "reversed",
        tickvals: names.map((_, row) => row),
        ticktext: names.map((name) => `${plain(name)}  `),
        automargin: true,
        fixedrange: true,
        showgrid: false,
        zeroline: false,
        tickfont: { size: narrow() ? 11 : 12.5 },
      },
      ...more,
    });
    return Plotly.react(place, traces, layout, config);
  };

  const timeline = () => {
    const layers = values.layers;
    const rows = layers.map((_, row) => row);
    const tips = layers.map((layer) =>
      [
        `<b>layer ${layer.number}</b>  ${layer.told}${layer.time ? `, built in ${layer.time}` : ""}`,
        plain(exact(layer.size) + (layer.wasted ? `, of them ${exact(layer.wasted)} wasted` : "")),
        lines(layer.command, 64),
      ].join("<br>"),
    );
    const common = {
      type: "bar",
      orientation: "h",
      y: rows,
      hovertext: tips,
      hoverinfo: "text",
      textposition: "outside",
      cliponaxis: false,
    };
    return bars(
      "timeline",
      [
        {
          ...common,
          x: layers.map((layer) => layer.size - layer.wasted),
          marker: { color: colour("--kept") },
          text: layers.map((layer) => (layer.wasted ? "" : layer.told)),
        },
        {
          ...common,
          x: layers.map((layer) => layer.wasted),
          marker: { color: colour("--wasted") },
          text: layers.map((layer) => (layer.wasted ? layer.told : "")),
        },
      ],
      layers.map((layer) => short(`${layer.number}  ${layer.command}`, narrow() ? 18 : 44, 1)),
    );
  };

  const change = (place) => {
    const told = values.changes[Number(place.dataset.change)];
    const names = ["before", ...told.steps.map(([name]) => name), "after"];
    const sizes = [told.before[1], ...told.steps.map(([, , text]) => text), told.after[1]];
    const room = narrow() ? 20 : 48;
    const heads = names.map((name, row) => `${short(name, room)}  ${sizes[row]}`);
    const trace = {
      type: "waterfall",
      orientation: "h",
      y: names.map((_, row) => row),
      x: [told.before[0], ...told.steps.map(([, size]) => size), told.after[0]],
      measure: ["absolute", ...told.steps.map(() => "relative"), "absolute"],
      hovertext: names.map((name, row) => `<b>${plain(short(name, 60))}</b>  ${sizes[row]}`),
      hoverinfo: "text",
      connector: { line: { color: colour("--line"), width: 1 } },
      totals: { marker: { color: colour("--kept") } },
      increasing: { marker: { color: colour("--bad") } },
      decreasing: { marker: { color: colour("--good") } },
    };
    const limit = told.maximum === null ? [] : [told.maximum];
    return bars(place, [trace], heads, {
      shapes: limit.map((x) => ({
        type: "line",
        x0: x,
        x1: x,
        y0: 0,
        y1: 1,
        yref: "paper",
        line: { color: colour("--ink"), width: 2, dash: "dot" },
      })),
    });
  };

  // ---- The table of owners --------------------------------------------------------------------
  const table = byId("owners-table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const FIRST = 25;
  let all = rows.length <= FIRST + 5;
  const filter = byId("filter");
  const refresh = () => {
    const wanted = filter.value.trim().toLowerCase();
    const fits = rows.filter((row) => row.cells[0].dataset.value.toLowerCase().includes(wanted));
    const shown = new Set(all || wanted ? fits : fits.slice(0, FIRST));
    for (const row of rows) row.hidden = !shown.has(row);
    const count = fits.length.toLocaleString("en-US");
    byId("count").textContent = `${count} ${fits.length === 1 ? "owner" : "owners"}`;
    byId("all").hidden = shown.size === fits.length;
    byId("all").textContent = `Show all ${count}`;
  };
  filter.addEventListener("input", refresh);
  byId("all").addEventListener("click", () => {
    all = true;
    refresh();
    rows[FIRST]?.querySelector("button")?.focus();
  });
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sort]");
    if (!button) return;
    const head = button.closest("th");
    const column = head.cellIndex;
    const text = button.dataset.sort === "text";
    const was = head.getAttribute("aria-sort");
    const way = was ? (was === "ascending" ? "descending" : "ascending") : text ? "ascending" : "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", way);
    const sign = way === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    rows.sort((one, two) =>
      text
        ? sign * (value(one) < value(two) ? -1 : value(one) > value(two) ? 1 : 0)
        : sign * (Number(value(one)) - Number(value(two))),
    );
    body.append(...rows);
    refresh();
  });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-node]");
    if (!button) return;
    zoom(Number(button.dataset.node));
    byId("where").scrollIntoView();
    map.focus({ preventScroll: true });
  });

  // ---- All of it -------------------------------------------------------------------------------
  const pictures = () => {
    paint();
    if (values.layers.length) timeline();
    for (const place of document.querySelectorAll("[data-change]")) change(place);
  };
  refresh();
  trail();
  tell(0);
  pictures();
  byId("tiles").on("plotly_treemapclick", (event) => {
    const id = event.points?.[0]?.id ?? "";
    const node = Number(id.slice(1));
    // Not before Plotly is done with the click: it still holds the tiles that are drawn anew.
    if (id) setTimeout(() => zoom(node), 0);
    return false;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", pictures);
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's address bar comes and goes
    width = window.innerWidth;
    pictures();
  });
})();
