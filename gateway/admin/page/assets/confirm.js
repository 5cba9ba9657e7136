// The question before a breaker is held by hand, asked here instead of on a page of its own. Nothing is sent without a yes;
// the form is the server's, and works without this.
export function keepConfirming(main) {
  main.addEventListener("click", async (click) => {
    const asked = click.target.closest?.("a[data-dialog]");
    if (!asked || click.ctrlKey || click.metaKey || click.shiftKey) return;
    click.preventDefault();
    const page = new DOMParser().parseFromString(await (await fetch(asked.href)).text(), "text/html");
    const question = page.getElementById("question");
    if (!question) { location.href = asked.href; return; }
    ask(question, asked);
  });
}

function ask(question, asked) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", question.querySelector("h2").textContent);
  dialog.append(document.adoptNode(question));
  dialog.querySelector("[data-cancel]").addEventListener("click", (click) => { click.preventDefault(); dialog.close(); });
  dialog.addEventListener("close", () => { dialog.remove(); asked.focus(); });
  document.body.append(dialog);
  dialog.showModal();
}
