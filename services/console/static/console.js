// The script of all pages. Without it every page works, too: it sends forms in the background (htmx), so
// that nothing that was typed is lost if the network fails, and moves sections by dragging and by keys.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const texts = () => JSON.parse(byId("announcement").dataset.texts);

  /** Shows a message, which screen readers read. `link` is an address and its name. */
  const announce = (text, isError = false, link = null) => {
    const place = byId("announcement");
    place.textContent = text;
    place.classList.toggle("error", isError);
    if (link) {
      const anchor = document.createElement("a");
      [anchor.href, anchor.textContent] = link;
      anchor.target = "_blank";
      anchor.rel = "opener";
      place.append(" ", anchor);
    }
  };
  const announceFailure = (status, reason = "") => {
    const { unreachable, signedOut, signIn } = texts();
    if (status === 401) announce(signedOut, true, ["/console/sign-in", signIn]);
    else announce(reason || unreachable, true);
  };

  // Times in the zone of the reader.
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  /** Puts a field in the zone of the reader before one for a moment in UTC, which the form sends. */
  const showLocally = (sent) => {
    const shown = document.createElement("input");
    shown.type = "datetime-local";
    for (const name of ["id", "aria-describedby", "aria-invalid"]) {
      if (sent.hasAttribute(name)) shown.setAttribute(name, sent.getAttribute(name));
    }
    const moment = new Date(sent.value);
    // A text that is no moment stays in sight, with what is wrong with it.
    if (sent.value && isNaN(moment)) return;
    if (sent.value) {
      const local = new Date(moment.getTime() - moment.getTimezoneOffset() * 60000);
      shown.value = local.toISOString().slice(0, 16);
    }
    shown.addEventListener("input", () => {
      sent.value = shown.value && new Date(shown.value).toISOString();
    });
    sent.type = "hidden";
    sent.removeAttribute("id");
    sent.before(shown);
  };

  const prepare = () => {
    for (const time of document.querySelectorAll("time[datetime]:not([title])")) {
      time.title = time.textContent;
      time.textContent = format.format(new Date(time.dateTime));
    }
    document.querySelectorAll('input[type="text"][data-moment]').forEach(showLocally);
    byId("tree-help")?.removeAttribute("hidden");
    document.querySelector(".select-all")?.removeAttribute("hidden");
    document.querySelector("[aria-invalid]")?.focus();
  };

  // A link that signs in once has its code behind the mark `#`, which browsers send to no server. A token
  // there is not used: anyone could make a link that signs others in as themselves.
  const signInOnce = () => {
    const form = byId("sign-in");
    const code = /^#code=(once-[\w-]+)$/.exec(location.hash)?.[1];
    if (!form || !code) return;
    history.replaceState(null, "", location.pathname);
    form.elements.token.value = code;
    form.submit();
  };

  /** Forms with what is not saved, and forms with something that was sent. */
  const changed = new WeakSet();
  const sent = new WeakSet();
  /** Notes that what a form has sent is not saved: it is in this form now. */
  const keep = (form, now = form) => {
    if (now && sent.has(form)) changed.add(now);
  };

  // Forms that are sent in the background.
  const page = ({ responseText }) => new DOMParser().parseFromString(responseText, "text/html");
  const isPage = (request) =>
    (request.getResponseHeader("content-type") ?? "").startsWith("text/html");
  /** Returns the form that was sent, if it was one. */
  const sentForm = ({ detail }) => detail.requestConfig.elt.closest("form");
  /** Returns the form of a document that has the action of another one. */
  const formLike = (form, place) => {
    const action = form.getAttribute("action");
    return [...place.forms].find((one) => one.getAttribute("action") === action);
  };
  /** Returns the reason that an answer gives: the message of a page, or an error of the gateway. */
  const reasonOf = (request) => {
    if (isPage(request)) return page(request).querySelector(".notice.error p")?.textContent;
    try {
      return JSON.parse(request.responseText).detail;
    } catch {
      return "";
    }
  };
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr } = event.detail;
    const form = sentForm(event);
    // A page of an error without the form would take away what is typed.
    const isWhole = () => xhr.status < 400 || !form || formLike(form, page(xhr));
    if (isPage(xhr) && xhr.status !== 401 && isWhole()) return;
    // The page stays, with what is typed: the session has ended, the form was refused as a whole, or a
    // proxy answered in place of the console.
    event.detail.shouldSwap = false;
    keep(form);
    announceFailure(xhr.status, reasonOf(xhr));
  });
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:sendAbort"]) {
    document.addEventListener(name, (event) => {
      keep(sentForm(event));
      announceFailure(0);
    });
  }
  document.addEventListener("htmx:afterSettle", ({ detail }) => {
    prepare();
    const form = detail.xhr?.status >= 400 && sentForm({ detail });
    if (form) keep(form, formLike(form, document));
    // A part that is read again stays where it is.
    if (detail.target !== document.body) return;
    window.scrollTo(0, 0);
    if (document.activeElement === document.body) byId("main").focus();
  });

  // Leaving a form that was changed is asked about.
  document.addEventListener("input", (event) => {
    const { form } = event.target;
    if (form?.dataset.hxBoost) changed.add(form);
    showAddress(event.target);
  });
  document.addEventListener("submit", ({ target }) => {
    if (changed.delete(target)) sent.add(target);
  });
  window.addEventListener("beforeunload", (event) => {
    const isChanged = [...document.forms].some((form) => changed.has(form));
    if (isChanged) event.preventDefault();
  });

  /** Shows the address that a slug would give. */
  const showAddress = (field) => {
    if (field.name !== "slug") return;
    const output = field.form?.querySelector("output[data-above]");
    if (output) output.textContent = output.dataset.above + field.value;
  };

  // The part of an upload that has arrived.
  document.addEventListener("htmx:xhr:progress", ({ target, detail }) => {
    const place = target.closest?.("form")?.querySelector("[data-progress]");
    if (!place || !detail.lengthComputable) return;
    const bar = place.querySelector("progress");
    place.hidden = false;
    bar.max = detail.total;
    bar.value = detail.loaded;
  });

  // One box for all boxes of a list.
  document.addEventListener("change", ({ target }) => {
    const name = target.dataset?.selects;
    if (!name) return;
    for (const box of target.form.querySelectorAll(`input[type="checkbox"][name="${name}"]`)) {
      box.checked = target.checked;
    }
  });

  // The tree of sections.
  const item = (node) => node?.closest?.("#tree li[data-id]") ?? null;
  const listOf = (li) => {
    let list = li.querySelector(":scope > ul");
    if (!list) {
      list = document.createElement("ul");
      li.append(list);
    }
    return list;
  };
  const titleOf = (li) => li.querySelector(".name a").textContent;
  /** The sections of lists: an empty one is removed. */
  const parentOf = new WeakMap();

  /** Moves are sent one after the other: each is about the tree that the one before left. */
  let sending = Promise.resolve();

  const sendMove = async (li) => {
    const form = byId("tree");
    const parent = item(li.parentElement);
    const body = new URLSearchParams({
      mark: form.elements.mark.value,
      do: `move:${li.dataset.id}`,
      parent: parent?.dataset.id ?? "",
      before: li.nextElementSibling?.dataset.id ?? "",
    });
    const response = await fetch(form.getAttribute("action"), {
      method: "POST",
      body,
      headers: { accept: "application/json" },
      signal: AbortSignal.timeout(30000),
    });
    if (response.ok) return null;
    if (response.status === 401) return { status: 401 };
    const answer = await response.json();
    return { status: response.status, message: answer.message };
  };

  /** Moves a section in the page, then at the server. If that fails, it goes back. */
  const move = (li, put) => {
    const [list, next] = [li.parentElement, li.nextElementSibling];
    const focused = li.contains(document.activeElement) ? document.activeElement : null;
    parentOf.set(list, item(list));
    put();
    if (li.parentElement === list && li.nextElementSibling === next) return;
    if (!list.firstElementChild && item(list)) list.remove();
    focused?.focus({ preventScroll: true });
    li.scrollIntoView({ block: "nearest" });
    const siblings = [...li.parentElement.children];
    const parent = item(li.parentElement);
    const place = texts().moved
      .replace("{title}", titleOf(li))
      .replace("{parent}", parent ? titleOf(parent) : texts().top)
      .replace("{index}", siblings.indexOf(li) + 1)
      .replace("{count}", siblings.length);
    const [now, after] = [li.parentElement, li.nextElementSibling];
    li.setAttribute("aria-busy", "true");
    sending = sending.then(async () => {
      let failure;
      try {
        failure = await sendMove(li);
      } catch {
        failure = { status: 0 };
      }
      li.removeAttribute("aria-busy");
      if (!failure) return announce(place);
      if (failure.message) announce(failure.message, true);
      else announceFailure(failure.status);
      // Unless it was moved again since.
      if (li.parentElement !== now || li.nextElementSibling !== after) return;
      if (!list.isConnected) parentOf.get(list)?.append(list);
      list.insertBefore(li, next?.parentElement === list ? next : null);
      if (!now.firstElementChild && item(now)) now.remove();
      if (focused) focused.focus();
    });
  };

  const steps = {
    up: (li) => li.previousElementSibling && (() => li.previousElementSibling.before(li)),
    down: (li) => li.nextElementSibling && (() => li.nextElementSibling.after(li)),
    in: (li) => li.previousElementSibling && (() => listOf(li.previousElementSibling).append(li)),
    out: (li) => {
      const parent = item(li.parentElement);
      return parent && (() => parent.after(li));
    },
  };
  const step = (li, name) => {
    const put = steps[name](li);
    if (put) move(li, put);
    else announce(texts().noStep);
  };

  document.addEventListener("submit", (event) => {
    const [name, id] = event.submitter?.value?.split(":") ?? [];
    const li = event.target.id === "tree" && id ? byId(`s-${id}`) : null;
    if (!li || !Object.hasOwn(steps, name)) return;
    event.preventDefault();
    step(li, name);
  });
  const arrows = { ArrowUp: "up", ArrowDown: "down", ArrowRight: "in", ArrowLeft: "out" };
  document.addEventListener("keydown", (event) => {
    const li = event.altKey && Object.hasOwn(arrows, event.key) ? item(event.target) : null;
    if (!li) return;
    event.preventDefault();
    step(li, arrows[event.key]);
  });

  let dragged = null;
  let target = null;
  const aim = (row, zone) => {
    if (target?.row === row && target?.zone === zone) return;
    target?.row.classList.remove("before", "into", "after");
    target = row && { row, zone };
    row?.classList.add(zone);
  };
  document.addEventListener("dragstart", (event) => {
    if (!event.target.classList?.contains("handle")) return;
    dragged = item(event.target);
    event.dataTransfer.effectAllowed = "move";
    event.dataTransfer.setData("text/plain", titleOf(dragged));
    event.dataTransfer.setDragImage(dragged.querySelector(".row"), 12, 12);
    dragged.classList.add("dragged");
  });
  document.addEventListener("dragover", (event) => {
    if (!dragged) return;
    const row = event.target.closest?.("#tree li[data-id] > .row");
    if (!row || dragged.contains(row)) return aim(null);
    event.preventDefault();
    const box = row.getBoundingClientRect();
    const part = (event.clientY - box.top) / box.height;
    aim(row, part < 0.3 ? "before" : part > 0.7 ? "after" : "into");
  });
  document.addEventListener("drop", (event) => {
    if (!dragged || !target) return;
    event.preventDefault();
    const [li, over, { zone }] = [dragged, item(target.row), target];
    move(li, () => {
      if (zone === "before") over.before(li);
      else if (zone === "after") over.after(li);
      else listOf(over).append(li);
    });
  });
  document.addEventListener("dragend", () => {
    aim(null);
    dragged?.classList.remove("dragged");
    dragged = null;
  });

  prepare();
  signInOnce();
})();
