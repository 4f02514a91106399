(() => {
  'use strict';
  const all = (what, where = document) => Array.from(where.querySelectorAll(what));
  const search = document.getElementById('search');
  const found = document.getElementById('found');
  const chips = all('.chip');
  const tests = all('details.test').map(part => ({
    part, folded: !part.open, name: part.querySelector('.name').textContent.toLowerCase(), rows: all('tr', part),
  }));
  const cards = all('details.card');
  // Limit: tests whose rows are unfolded by a search.
  const OPEN_MAX = 50;
  document.documentElement.classList.add('js');

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const verdicts = new Set(chips.filter(c => c.getAttribute('aria-pressed') === 'true').map(c => c.dataset.verdict));
    const active = words.length > 0 || verdicts.size > 0;
    const fits = (element, more) => {
      if (verdicts.size && !verdicts.has(element.dataset.verdict)) return false;
      if (!words.length) return true;
      const text = more + ' ' + element.textContent.toLowerCase();
      return words.every(w => text.includes(w));
    };
    let hits = 0, opened = 0;
    for (const card of cards) card.hidden = !fits(card, '');
    for (const test of tests) {
      let own = 0;
      for (const row of test.rows) {
        const fit = fits(row, test.name);
        if (row.hidden === fit) row.hidden = !fit;
        if (fit) own++;
      }
      test.part.hidden = active && own === 0;
      test.part.open = active ? own > 0 && opened++ < OPEN_MAX : !test.folded;
      hits += own;
    }
    found.textContent = active ? hits + (hits === 1 ? ' item' : ' items') : '';
  }

  let timer = 0;
  search.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(filter, 150); });
  for (const chip of chips) chip.addEventListener('click', () => {
    chip.setAttribute('aria-pressed', String(chip.getAttribute('aria-pressed') !== 'true'));
    filter();
  });
  for (const button of all('[data-fold]')) button.addEventListener('click', () => {
    for (const part of all('details.card, details.test')) if (!part.hidden) part.open = button.dataset.fold === 'open';
  });
  document.addEventListener('keydown', event => {
    if (event.key === '/' && document.activeElement !== search) { event.preventDefault(); search.focus(); }
    if (event.key === 'Escape' && document.activeElement === search) { search.value = ''; filter(); search.blur(); }
  });
  const show = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === 'DETAILS') { target.hidden = false; target.open = true; target.scrollIntoView(); }
  };
  addEventListener('hashchange', show);
  show();
})();
