// Runs before the first paint, so that a page chosen dark never flashes white.
(() => {
  try {
    const { theme } = JSON.parse(localStorage.getItem("chatwright.preferences") ?? "{}");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // kept preferences that cannot be read are as good as none
  }
})();
