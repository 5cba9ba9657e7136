// Makes what is shown like what the server has rendered, and touches only what differs: focus, scrolling, open details
// and selected text stay. `html` is the server's, with everything that callers control escaped.
export function morph(old, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  if (fresh) alike(old, fresh);
}

function alike(old, fresh) {
  attributes(old, fresh);
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, at) => {
    const here = old.childNodes[at];
    if (!here) old.append(node);
    else if (here.nodeType !== node.nodeType || here.nodeName !== node.nodeName || kept(here) !== kept(node)) here.replaceWith(node);
    else if (node.nodeType === Node.ELEMENT_NODE) { if (!kept(here)) alike(here, node); else attributes(here, node); }
    else if (here.data !== node.data) here.data = node.data;
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

// What a script draws into is not the server's; its attributes are.
function kept(node) {
  return node.dataset?.chart !== undefined;
}

function attributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (name === "class" && kept(old)) continue;
    if (name === "open" && old.nodeName === "DETAILS") continue; // whoever looks opens and closes them
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
  }
}
