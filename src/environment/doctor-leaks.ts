// The part of the doctor that tries to get past the proxy, by fixed octets to well-known public addresses. Where a transparent listener
// takes what it sends, Sallyport itself answers, and that is no leak.

export const LEAKS = String.raw`# talk tcp|udp ADDRESS PORT FILE TO: sends FILE; TO.open is there where it was taken, and TO holds what was answered.
talk() {
  case $means in
    bash)
      within 4 bash -c 'exec 3<>"/dev/$1/$2/$3" && : >"$5.open" && cat "$4" >&3 && exec dd bs=2048 count=1 <&3 >"$5"' bash "$@" ;;
    python3)
      within 4 python3 -c '
import socket, sys
kind, host, port, sent, to = sys.argv[1:]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.connect((host, int(port)))
open(to + ".open", "w")
s.sendall(open(sent, "rb").read())
open(to, "wb").write(s.recv(2048))' "$@" ;;
    node)
      within 4 node -e '
const [kind, host, port, sent, to] = process.argv.slice(1), { readFileSync: r, writeFileSync: w } = require("fs");
if (kind === "tcp") {
  const s = require("net").connect(Number(port), host, () => { w(to + ".open", ""); s.write(r(sent)); });
  s.once("data", (octets) => { w(to, octets); s.destroy(); }).once("error", () => {});
} else {
  const s = require("dgram").createSocket(host.includes(":") ? "udp6" : "udp4");
  s.once("message", (octets) => { w(to, octets); s.close(); }).once("error", () => s.close()).send(r(sent), Number(port), host);
}' "$@" ;;
    nc)
      if [ "$1" = udp ]; then
        within 4 sh -c 'nc -u -w 3 "$1" "$2" <"$3" >"$4"' sh "$2" "$3" "$4" "$5"
      else
        # What could not connect says so; what was taken in silence is ended from here.
        within 5 sh -c 'exec nc -w 3 "$1" "$2" <"$3" >"$4"' sh "$2" "$3" "$4" "$5"
        [ $? = 1 ] || : >"$5.open"
      fi ;;
  esac >/dev/null 2>&1
}

# probe WHAT tcp|udp ADDRESS PORT FILE: whether that leads past the proxy.
probe() {
  what=$1
  shift
  (
    to="$T/heard.$1.$2.$3"
    talk "$@" "$to"
    if grep -qi sallyport "$to" 2>/dev/null && [ "$1" = tcp ]; then
      ok "$what: the proxy itself takes it"
    elif [ -s "$to" ] && [ "$1:$3" = udp:53 ] && [ "$(od -An -tu1 -j 7 -N 1 "$to" | tr -d ' ')" != 0 ]; then
      ok "$what: the proxy itself answers"
    elif [ -s "$to" ] || { [ "$1" = tcp ] && [ -e "$to.open" ]; }; then
      leak "$what: is open ($1 to $2, port $3)" && way "$wall"
    else
      ok "$what: leads nowhere ($1 to $2, port $3)"
    fi >"$T/report.2.$1.$2.$3"
  ) &
}

# hears ADDRESS: whether anything is said there to who knocks at port 1, be it that nobody listens.
hears() {
  case $means in
    bash) within 3 bash -c '(exec 3<>"/dev/tcp/$1/1") && echo open' bash "$1" ;;
    python3)
      within 3 python3 -c '
import socket, sys
try: socket.create_connection((sys.argv[1], 1), 2) and print("open")
except OSError as e: print(e)' "$1" ;;
    node)
      within 3 node -e '
const say = (text) => require("fs").writeSync(1, String(text));
const s = require("net").connect(1, process.argv[1], () => { say("open"); s.destroy(); }).on("error", (e) => say(e.code));' "$1" ;;
    nc) within 6 sh -c 'nc -w 2 "$1" 1 || nc -v -w 2 "$1" 1' sh "$1" ;;
  esac 2>&1 | grep -qi -e refused -e '^open'
}

# What a network without a route still has on it: the host, by its gateway's address or the first of each network.
hosts() {
  [ -r /proc/net/route ] || return
  while read -r _ to by _ _ _ _ mask _; do
    case $to:$by:$mask in
      Destination:* | *:00000000:FFFFFFFF | 00000000:00000000:*) continue ;;
      *:00000000:*) hex=$to plus=1 ;;
      *) hex=$by plus=0 ;;
    esac
    # shellcheck disable=SC2046 # four words
    set -- $(printf %s "$hex" | sed 's/\(..\)\(..\)\(..\)\(..\)/0x\4 0x\3 0x\2 0x\1/')
    printf '%d.%d.%d.%d\n' "$1" "$2" "$3" "$(($4 + plus))"
  done </proc/net/route | sort -u
}

host() {
  if grep -A 1 -e "|-- $1\$" /proc/net/fib_trie 2>/dev/null | grep -q 'host LOCAL'; then return; fi
  if hears "$1"; then
    cannot "the host ($1): answers, so what it listens for at all of its addresses is reached from here" &&
      way 'rules on the host that drop what comes from here: deploy/compose/host.nft, docs/containers.md'
  else
    ok "the host ($1): says nothing"
  fi
}

names() {
  if there getent; then
    asked() { within 6 getent hosts "$1" 2>/dev/null | head -n 1 | cut -d' ' -f1; }
  elif there nslookup; then
    asked() { within 6 nslookup "$1" >"$T/name.$1" 2>/dev/null && sed -n 's/^Address[^:]*: *//p' "$T/name.$1" | tail -n 1; }
  else
    cannot 'DNS, by the resolver of this system: neither getent nor nslookup is here'
    return
  fi
  found=$(asked example.com)
  if [ -z "$found" ]; then
    ok 'DNS, by the resolver of this system: knows no name of the outside'
  elif [ "$found" = "$(asked sallyport.internal)" ]; then
    ok 'DNS, by the resolver of this system: the proxy itself answers'
  else
    leak 'DNS, by the resolver of this system: names of the outside are known here, so questions carry data out'
    way 'no name server in /etc/resolv.conf, or dns of Sallyport alone (docs/transparent.md)'
  fi
}

leaks() {
  wall='a network with no route but to the proxy: deploy/ and examples/ have one each for compose, Kubernetes and sallyport exec'
  names >"$T/report.2.names" &
  if there docker || [ -S /var/run/docker.sock ]; then
    if [ -w /var/run/docker.sock ]; then
      leak 'the socket of a container engine: whoever may write to it has its network' && way 'do not mount /var/run/docker.sock'
    else
      ok 'the socket of a container engine: is not here'
    fi >"$T/report.2.docker"
  fi
  if there ping; then
    if within 4 ping -c 1 -W 3 1.1.1.1 >/dev/null 2>&1; then
      leak 'ICMP: is open (1.1.1.1)' && way "$wall"
    else
      ok 'ICMP: leads nowhere (1.1.1.1)'
    fi >"$T/report.2.icmp" &
  fi
  if [ -n "$(value http_proxy)" ] && there curl; then
    case $(within 10 curl -s -m 8 -o /dev/null -w '%{http_code}' http://169.254.169.254/ 2>/dev/null) in
      2* | 401 | 404) leak 'the metadata address, by the proxy: is answered' && way 'remove the rule that names 169.254.169.254' ;;
      *) ok 'the metadata address, by the proxy: is refused' ;;
    esac >"$T/report.2.metadata" &
  fi
  means=
  for each in bash python3 node nc; do
    if there "$each" && { [ "$each" = nc ] || within 5 "$each" --version >/dev/null 2>&1; }; then means=$each && break; fi
  done
  if [ -z "$means" ]; then
    mend 'direct TCP, UDP, QUIC, IPv6 and the metadata address: cannot be tested, nothing here opens a connection' >"$T/report.2"
    way 'install one of bash, python3, node, nc, and run this again' >>"$T/report.2"
    return
  fi
  for each in $(hosts); do host "$each" >"$T/report.2.host.$each" & done
  printf 'GET / HTTP/1.1\r\nHost: sallyport.internal\r\nConnection: close\r\n\r\n' >"$T/http"
  # A question for sallyport.internal: outside nobody has an answer to it.
  printf '\123\120\001\000\000\001\000\000\000\000\000\000\011sallyport\010internal\000\000\001\000\001' >"$T/question"
  # A QUIC packet of a version that does not exist, which every server answers (RFC 9000, 6.1).
  { printf '\300\032\052\072\112\010sallypor\010doctored' && dd if=/dev/zero bs=1178 count=1 2>/dev/null; } >"$T/quic"
  for address in 1.1.1.1 8.8.8.8; do
    for port in 80 443 853; do probe 'direct TCP' tcp "$address" "$port" "$T/http"; done
  done
  probe 'IPv6, TCP' tcp 2606:4700:4700::1111 443 "$T/http"
  probe 'the metadata address' tcp 169.254.169.254 80 "$T/http"
  if [ "$means" = nc ] && ! nc -h 2>&1 | grep -q -e '-u'; then
    cannot 'UDP and DNS, asked directly: the nc that is here speaks TCP alone; bash, python3 or node would do' >"$T/report.2.udp"
    return
  fi
  for address in 1.1.1.1 8.8.8.8; do
    probe 'DNS, asked directly' udp "$address" 53 "$T/question"
    probe 'UDP, as QUIC' udp "$address" 443 "$T/quic"
  done
  probe 'IPv6, DNS' udp 2606:4700:4700::1111 53 "$T/question"
}
`;
