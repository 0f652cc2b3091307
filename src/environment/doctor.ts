// The shell script that says what does not work in a sandbox, and how to mend it: needs nothing but sh, changes nothing, sends nothing
// of the sandbox's. It must never print what a client said or a proxy variable holds, since either may tell credentials.

import { CLIENTS } from "./doctor-clients.ts";
import { LEAKS } from "./doctor-leaks.ts";
import { fileContents, sandboxFiles } from "./files.ts";
import { VARIABLES } from "./variables.ts";

export function doctorScript(): string {
  return `${HEAD}\n${fixes()}\n${CLIENTS}\n${LEAKS}\n${MAIN}`;
}

/** What `sallyport env` would set and write, as commands. */
function fixes(): string {
  const files = sandboxFiles(SEEN_AS, PASSWORD);
  const input = { proxyUrl: PROXY_URL, files };
  const all = VARIABLES.map(({ names, value }) => ({ names, value: value(input) }));
  const paths: readonly string[] = Object.values(files);
  const pairs = all.filter(({ names: [one = "", other] }) => one.toLowerCase() === other);
  const cases = all.flatMap(({ names, value }) =>
    names.map((name) =>
      value === PROXY_URL
        ? `    ${name}) printf 'export %s=%s' ${name} "$known_proxy" ;;`
        : `    ${name}) printf %s ${quoted(`export ${name}=${/[^\w:/.,-]/.test(value) ? quoted(value) : value}`)} ;;`,
    ),
  );
  const made = fileContents(SEEN_AS, {
    caPem: "",
    bundlePem: "",
    truststore: new Uint8Array(),
    truststorePassword: PASSWORD,
  }).flatMap(({ name, content }) =>
    typeof content === "string" && content !== ""
      ? [`  way ${quoted(`printf '%s\\n' ${quoted(content.trim())} > ${SEEN_AS}/${name}`)}`]
      : [],
  );
  const namesWhere = (holds: (value: string) => boolean): string =>
    all
      .filter(({ value }) => holds(value))
      .flatMap(({ names }) => names)
      .join(" ");
  return `pairs=${quoted(pairs.map(({ names }) => names.join(":")).join(" "))}
proxy_names=${quoted(namesWhere((value) => value === PROXY_URL))}
file_names=${quoted(namesWhere((value) => paths.includes(value)))}
inside=${quoted(`${all.find(({ names }) => names.includes("NO_PROXY"))?.value.replaceAll(",", " ")}`)}
fix() {
  case $1 in
${cases.join("\n")}
  esac
}
files() {
  way ${quoted(`mkdir -p ${SEEN_AS} && curl -fsS http://sallyport.internal/ca.pem -o ${files.ca}`)}
  way ${quoted(`cat /etc/ssl/certs/ca-certificates.crt ${files.ca} > ${files.bundle}`)}
${made.join("\n")}
  way ${quoted(`or mount what \`sallyport env --mount-point ${SEEN_AS}\` writes, ${files.truststore} among it`)}
  way 'or, for an image, as root: curl -fsS http://sallyport.internal/setup/debian | sh   (or /setup/alpine, /setup/rhel)'
}
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

const SEEN_AS = "/etc/sallyport";
const PASSWORD = "changeit";
const PROXY_URL = "http://proxy.example:3128";

const HEAD = String.raw`#!/bin/sh
# What does not work in this sandbox behind Sallyport, and how to mend it. Changes nothing. Ends with 0 where all is well, 1 where there is
# something to mend or nothing could be tested, 2 where something leads past the proxy.
# shellcheck disable=SC2016 # what is printed, or handed to another interpreter, is not to be expanded
set -f
umask 077
export LC_ALL=C
T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 1' HUP INT TERM

there() { command -v "$1" >/dev/null 2>&1; }
value() { eval "printf %s \"\${$1-}\""; }
ok() { printf 'ok    %s\n' "$1"; }
mend() { printf 'FIX   %s\n' "$1"; }
leak() { printf 'LEAK  %s\n' "$1"; }
cannot() { printf '?     %s\n' "$1"; }
way() { printf '      -> %s\n' "$1"; }

# within SECONDS COMMAND...: ends it, whatever it does.
within() {
  limit=$1
  shift
  if timeout -s KILL 1 sh -c : 2>/dev/null; then
    timeout -s KILL "$limit" "$@" </dev/null
  else
    "$@" </dev/null &
    busy=$!
    (
      while [ "$limit" -gt 0 ] && sleep 1 && kill -0 "$busy"; do limit=$((limit - 1)); done
      kill -9 "$busy"
    ) >/dev/null 2>&1 &
    wait "$busy"
  fi
}
`;

const MAIN = String.raw`main() {
  known_proxy=http://proxy.example:3128
  for name in $proxy_names; do
    [ -n "$(value "$name")" ] && known_proxy="\"\$$name\"" && break
  done
  environment >"$T/report.0"
  clients
  leaks
  wait
  set +f
  cat "$T"/report.* >"$T/all"
  grep -q '^ok    [a-z0-9]*: ' "$T/all" || mend 'no client here could be tested, or none works' >>"$T/all"
  cat "$T/all"
  if grep -q 'proxy.example' "$T/all"; then echo 'proxy.example:3128 stands for the address of the proxy, as whoever runs this sandbox knows it.'; fi
  if grep -q '/etc/sallyport/' "$T/all"; then echo 'The files that these name, unless they are there:' && files; fi
  echo
  if grep -q '^LEAK' "$T/all"; then echo 'Something leads past the proxy: the network of this sandbox needs a wall.' && exit 2; fi
  if grep -q '^FIX' "$T/all"; then echo 'There is something to mend.' && exit 1; fi
  echo 'All is well, as far as could be tested.'
}
main
`;
