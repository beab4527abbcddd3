// Before anything is drawn: the theme that was chosen on an earlier page, if any.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* no storage for pages opened as files: the system's theme then */ }
