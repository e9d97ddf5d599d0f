// Light, dark, or as the system has it; theme.js applies what was chosen before anything is drawn.
import { useCallback, useEffect, useState } from "./html.js";

export const THEMES = [["light", "sun", "Light"], ["dark", "moon", "Dark"], ["system", "screen", "As the system"]];

/** Return the theme that was chosen here, and what chooses another one: everywhere on the page. */
export function useTheme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  const choose = useCallback((next) => {
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch {
      // It holds as long as the page is open.
    }
    window.dispatchEvent(new Event("themechange"));
  }, []);
  useEffect(() => {
    const look = () => setTheme(document.documentElement.dataset.theme ?? "system");
    window.addEventListener("themechange", look);
    return () => window.removeEventListener("themechange", look);
  }, []);
  return [theme, choose];
}
