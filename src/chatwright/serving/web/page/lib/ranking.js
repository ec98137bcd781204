// A ranking: an order of replies, best first, and the places that are as good as the one before.

/** The order with `member` at `place`. */
export function moved(order, member, place) {
  const others = order.filter((each) => each !== member);
  return [...others.slice(0, place), member, ...others.slice(place)];
}

/** The rank at each place, the best 1: a tie shares the rank of the place before, and the next rank counts it. */
export function ranks(order, ties) {
  const found = [];
  order.forEach((_, place) => found.push(place > 0 && ties.has(place) ? found[place - 1] : place + 1));
  return found;
}

/** The ranking as the server takes it: groups of indices, best first. */
export function grouped(order, ties) {
  const groups = [];
  order.forEach((member, place) => {
    if (place > 0 && ties.has(place)) groups.at(-1).push(member);
    else groups.push([member]);
  });
  return groups;
}
