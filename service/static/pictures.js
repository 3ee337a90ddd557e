// A picture to ask about: dropped, pasted, chosen or linked.

const HINTS = {
  none: "Drop a picture here, or paste one",
  linked: "The service fetches it when you ask, and shows what the model saw of it.",
  unseen: "Your browser cannot show this file; the service may still read it.",
};

export class Picture {
  // changed: called whenever there is another picture, or none.
  constructor(name, changed) {
    this.element = document.getElementById("picture").content.firstElementChild.cloneNode(true);
    this.changed = changed;
    this.file = null;
    const find = (selector) => this.element.querySelector(selector);
    [this.legend, this.drop, this.image, this.hint, this.trouble] = ["legend", ".drop", "img", ".hint", ".trouble"].map(find);
    [this.chooser, this.choose, this.clearer, this.link, this.linking] = ["input[type=file]", ".button span", ".clear", "input[type=url]", ".link"].map(find);
    this.rename(name);
    this.show();
    this.chooser.addEventListener("change", () => this.chooser.files.length && this.useFile(this.chooser.files[0]));
    this.clearer.addEventListener("click", () => this.clear());
    this.link.addEventListener("input", () => this.update());
    this.image.addEventListener("error", () => {
      this.image.hidden = true;
      this.hint.textContent = `${this.file.name}. ${HINTS.unseen}`;
    });
  }

  // What is to be asked about: a File, an address, or null.
  get content() {
    return this.file || this.link.value.trim() || null;
  }

  rename(name) {
    this.name = this.legend.textContent = name;
  }

  useFile(file) {
    if (file.type && !file.type.startsWith("image/")) return this.refuse(`${file.name} is no picture.`);
    this.file = file;
    this.link.value = "";
    this.update();
  }

  useLink(address) {
    this.file = null;
    this.link.value = address;
    this.update();
  }

  clear() {
    this.useLink("");
    this.chooser.focus();
  }

  refuse(text) {
    this.trouble.textContent = text;
  }

  update() {
    this.show();
    this.changed(this);
  }

  show() {
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.image.hidden = !this.file;
    if (this.file) this.image.src = URL.createObjectURL(this.file);
    else this.image.removeAttribute("src");
    this.image.alt = this.file?.name || "";
    this.hint.textContent = this.file ? this.file.name : this.content ? HINTS.linked : HINTS.none;
    this.choose.textContent = this.file ? "Choose another" : "Choose a file";
    this.linking.hidden = Boolean(this.file);
    this.clearer.hidden = !this.content;
    this.chooser.value = "";
    this.refuse("");
  }
}

const isField = (target) => target.matches?.("textarea, input:not([type=checkbox], [type=file])");

// Gives what is dropped anywhere on the page, or pasted, to the picture that it is meant for.
export function receive(pictures) {
  const meant = (target) => pictures.find((each) => each.element.contains(target)) || pictures.find((each) => !each.content) || pictures.at(-1);
  const mark = (marked) => pictures.forEach((each) => each.drop.classList.toggle("over", each === marked));

  // A text that is dragged into a field, or between fields, is the browser's affair.
  const carries = (event) => event.dataTransfer.types.includes("Files") || (event.dataTransfer.types.includes("text/uri-list") && !isField(event.target));
  document.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    mark(meant(event.target));
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || mark(null));
  document.addEventListener("drop", (event) => {
    mark(null);
    if (!carries(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    const [address] = event.dataTransfer.getData("text/uri-list").split(/[\r\n]+/);
    if (file) meant(event.target).useFile(file);
    else if (address) meant(event.target).useLink(address);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    // Of what has a text as well, a field takes the text.
    if (!file || (isField(event.target) && event.clipboardData.types.includes("text/plain"))) return;
    event.preventDefault();
    meant(event.target).useFile(file);
  });
}
