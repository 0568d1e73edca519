// The log of a run: follows its end until someone scrolls up, and can be searched.
(() => {
  "use strict";
  const box = document.querySelector("[data-log]");
  if (!box) return;
  const follow = document.querySelector("[data-log-follow]"), search = document.querySelector("[data-log-search]");
  const found = document.querySelector("[data-log-found]"), empty = document.querySelector("[data-log-empty]");
  const KEPT = 2_000_000; // characters; older ones leave the page, not the server
  let text = box.textContent, attempt = box.dataset.attempt, next = box.dataset.next, at = 0;

  const toEnd = () => { if (follow.checked) box.scrollTop = box.scrollHeight; };
  const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < 30;
  box.addEventListener("scroll", () => { if (follow.checked !== atEnd()) follow.checked = atEnd(); });
  follow.addEventListener("change", toEnd);

  const show = () => {
    const word = search.value.toLowerCase();
    if (!word) { box.textContent = text; found.textContent = ""; toEnd(); return; }
    const parts = [], low = text.toLowerCase();
    let from = 0, count = 0;
    for (let hit = low.indexOf(word); hit >= 0 && count < 2000; hit = low.indexOf(word, from)) {
      parts.push(text.slice(from, hit));
      const mark = document.createElement("mark");
      mark.textContent = text.slice(hit, hit + word.length);
      parts.push(mark);
      from = hit + word.length; count += 1;
    }
    parts.push(text.slice(from));
    box.replaceChildren(...parts);
    found.textContent = count ? `${count} found` : "not found";
    at = 0;
    jump(0);
  };
  const jump = (by) => {
    const marks = [...box.querySelectorAll("mark")];
    if (!marks.length) return;
    at = (at + by + marks.length) % marks.length;
    marks.forEach((mark, i) => mark.classList.toggle("now", i === at));
    follow.checked = false;
    box.scrollTop = marks[at].offsetTop - box.offsetTop - box.clientHeight / 2;
    found.textContent = `${at + 1} of ${marks.length}`;
  };
  search.addEventListener("input", show);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); jump(event.shiftKey ? -1 : 1); }
  });

  const poll = async () => {
    let again = 1000;
    try {
      const reply = await fetch(`${box.dataset.log}?attempt=${attempt}&after=${next}`);
      if (!reply.ok) throw new Error(String(reply.status));
      const answer = await reply.json();
      if (!answer.same && text) text += `\n-- attempt ${answer.attempt} --\n`;
      if (answer.text) {
        text = (text + answer.text).slice(-KEPT);
        if (answer.same && text.length < KEPT) { box.append(answer.text); toEnd(); }
        else show();
        empty.hidden = true;
      }
      attempt = answer.attempt; next = answer.next;
      if (answer.ended) again = 0;
      window.assay.away(false);
    } catch {
      window.assay.away(true);
      again = 3000;
    }
    if (again) setTimeout(poll, document.hidden ? again * 5 : again);
  };
  toEnd();
  if (!("logEnded" in box.dataset)) setTimeout(poll, 500);
})();
