/** The notation of IP addresses. */

/** The IPv4 address that an IPv6 address contains: `192.0.2.1` for `::ffff:192.0.2.1`. Null if it contains none. */
export function mappedAddress(address: string): string | null {
  if (!address.includes(':')) return null;
  const groups = groupsOf(address);
  const [high = 0, low = 0] = groups.slice(6);
  if (groups[5] !== 0xffff || groups.slice(0, 5).some((group) => group !== 0)) return null;
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/** The eight groups of a valid IPv6 address. */
export function groupsOf(address: string): number[] {
  const [before = '', after] = withoutZone(address).split('::');
  const [front, back] = [groupsIn(before), groupsIn(after ?? '')];
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => 0);
  return [...front, ...zeros, ...back];
}

function groupsIn(part: string): number[] {
  if (part === '') return [];
  return part.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** `fe80::1` for `fe80::1%eth0`. */
export function withoutZone(address: string): string {
  const zone = address.indexOf('%');
  return zone < 0 ? address : address.slice(0, zone);
}
