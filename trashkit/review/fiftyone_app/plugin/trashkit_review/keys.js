// Keys for the panel's buttons, which FiftyOne's operators cannot have: each presses the button of its name.
(() => {
  const buttons = {
    A: 'Accept fix', R: 'Reject', N: 'Next', P: 'Previous', U: 'Undo', O: 'Open', D: 'Delete',
  };
  const typing = at => at && (at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName));
  document.addEventListener('keydown', event => {
    const name = buttons[event.key];
    if (!name || !event.shiftKey || event.ctrlKey || event.altKey || event.metaKey || typing(event.target)) return;
    const found = [...document.querySelectorAll('button')]
      .filter(one => one.innerText.split('\n').pop().trim() === name && !one.disabled && one.offsetParent);
    if (!found.length) return;
    event.preventDefault();
    event.stopPropagation();
    found[found.length - 1].click();
  }, true);
  // FiftyOne's note about its paid edition covers the panel's text on a browser's first visit: as if dismissed.
  try { localStorage.setItem('fiftyone-enterprise-tooltip-seen', 'true'); } catch { /* it shows once, then */ }
})();
