// Makes an element with properties and content. Content that is "" is left out.

export function element(name, properties = {}, ...content) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...content.filter((part) => part !== ""));
  return made;
}
