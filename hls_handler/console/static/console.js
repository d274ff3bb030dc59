// The key "/" moves the focus to the search box, unless somebody is typing.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, select, textarea");
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  const search = document.getElementById("search");
  if (event.key !== "/" || isTyping || hasModifier || !search) {
    return;
  }
  event.preventDefault();
  search.focus();
});
