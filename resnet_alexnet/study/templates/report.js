// Draws each chart when it comes near the window, over the picture that stands there. Names are hidden by checkboxes.
const read = id => JSON.parse(document.getElementById(id).textContent);
const specs = read("specs"), config = read("config"), views = {};

async function draw(place) {
  const options = { ast: true, renderer: "svg", actions: false, config, tooltip: { theme: "page" }, logLevel: 1 };
  const result = await vegaEmbed(place, specs[place.id], options);
  views[place.id] = result.view;
  await apply(place.id);
  place.dataset.drawn = "";
}

function apply(id) {
  const box = document.querySelector(`[data-chart="${CSS.escape(id)}"]`), view = views[id];
  if (!box || !view) return;
  view.signal("hidden", [...box.querySelectorAll("input:not(:checked)")].map(input => input.value));
  const zoom = box.querySelector("select");
  if (zoom) view.signal("zoom", Number(zoom.value));
  return view.runAsync();
}

const near = new IntersectionObserver(entries => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "800px" });
for (const place of document.querySelectorAll(".chart")) near.observe(place);
for (const box of document.querySelectorAll("[data-chart]")) box.addEventListener("change", () => apply(box.dataset.chart));
addEventListener("beforeprint", () => document.querySelectorAll("details:not(.notice)").forEach(each => each.open = true));
