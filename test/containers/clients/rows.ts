// Every client of docs/clients.md: how it is asked, what must be seen, and what of that the table shows. In the lines `$AT` is the
// row's own name, `$BASE` an origin that is allowed and takes everything, and `$AWAY` an authority that is not allowed.

export type Row = {
  /** Its own directory, path and refused host. */
  readonly at: string;
  readonly name: string;
  /** Runs once, before the rest. */
  readonly prepare?: string;
  readonly download: Asked & { readonly says: string };
  readonly refusedHost: Asked;
  /** Absent: `never` says why there is none. */
  readonly refusedMethod?: Asked & { readonly reason?: string; readonly path?: string };
  readonly never?: string;
};

export type Asked = {
  readonly line: string;
  /** What the table has is what this matches, or its first group. */
  readonly shows: RegExp;
};

const DOWNLOADED = /the download/;
const SAYS_DOWNLOADED = "the file";
const PAGE = /reason: {2}method-not-allowed/;

/** A client that fetches one URL: `get URL`, and `post URL`, which sends a body. */
function fetcher(row: {
  at: string;
  name: string;
  prepare?: string;
  get: string;
  post: string;
  host: RegExp;
  method: RegExp;
}): Row {
  const { at, name, prepare, get, post, host, method } = row;
  return {
    at,
    name,
    ...(prepare !== undefined && { prepare }),
    download: { line: `${get} $BASE/$AT/download`, shows: DOWNLOADED, says: SAYS_DOWNLOADED },
    refusedHost: { line: `${get} https://$AWAY/`, shows: host },
    refusedMethod: { line: post.replace("URL", "$BASE/$AT/sent"), shows: method },
  };
}

/** A program of ours around a client's library: `PROGRAM METHOD URL [BODY]`. */
function program(at: string, name: string, command: string, shows: { host: RegExp; method: RegExp }): Row {
  return fetcher({ at, name, get: `${command} GET`, post: `${command} POST URL the-code`, ...shows });
}

const PIP =
  "pip install --break-system-packages --no-input --disable-pip-version-check --retries 1 --target t";
const REGISTRY = "is-number@7.0.0";
const BIN = "/opt/clients/node_modules/.bin";

function chromium(url: string): string {
  const options =
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --disable-breakpad --disable-background-networking --disable-component-update --disable-sync --no-first-run --virtual-time-budget=10000";
  return `timeout 60 chromium ${options} --proxy-server=$HTTPS_PROXY --user-data-dir=$(mktemp -d) --dump-dom "${url}"`;
}

export const ROWS: readonly Row[] = [
  fetcher({
    at: "curl",
    name: "curl",
    get: "curl -sS",
    post: "curl -sS --data-binary the-code URL",
    host: /^curl: .*CONNECT tunnel failed, response 403$/m,
    method: PAGE,
  }),
  fetcher({
    at: "wget",
    name: "wget",
    get: "wget -nv --tries=1 -O-",
    post: "wget -nv --tries=1 -O- --post-data=the-code URL",
    host: /Proxy tunneling failed: Forbidden \(sallyport: host-not-allowed\)/,
    method: /ERROR 403: Forbidden \(sallyport: method-not-allowed\)/,
  }),
  {
    at: "git",
    name: "git",
    prepare: "git clone -q $GIT/shop.git mine",
    download: {
      line: "git clone $GIT/shop.git clone && git -C clone log --format=%s",
      shows: /^one$/m,
      says: "a clone",
    },
    refusedHost: {
      line: "git clone https://$AWAY/shop.git away",
      shows: /CONNECT tunnel failed, response 403/,
    },
    refusedMethod: {
      line: "git -C mine push origin HEAD:refs/heads/stolen",
      shows: /remote:.*reason: {2}push-not-allowed/,
      reason: "push-not-allowed",
    },
  },
  {
    at: "npm",
    name: "npm",
    prepare: 'echo \'{ "name": "mine", "version": "1.0.0" }\' >package.json',
    download: {
      line: `npm install --no-audit --no-fund ${REGISTRY} && ls node_modules`,
      shows: /^is-number$/m,
      says: "a package of the registry",
    },
    refusedHost: {
      line: `npm install --fetch-retries=0 --registry https://$AWAY/ is-odd`,
      shows: /403 Forbidden.*host-not-allowed.*|ERR! .*403.*/,
    },
    refusedMethod: {
      line: 'npm config set "${BASE#https:}/npm/:_authToken=x" && npm publish --registry $BASE/npm/',
      shows: /403 Forbidden \(sallyport: method-not-allowed\) - PUT/,
    },
  },
  {
    at: "pip",
    name: "pip",
    download: {
      line: `${PIP} --index-url $BASE/pip/simple/ tiny`,
      shows: /Successfully installed tiny-1\.0/,
      says: "a wheel",
    },
    refusedHost: {
      line: `${PIP} --index-url https://$AWAY/simple/ tiny`,
      shows: /Tunnel connection failed: 403 Forbidden \(sallyport: host-not-allowed\)/,
    },
    refusedMethod: {
      line: "pip search --disable-pip-version-check --index $BASE/pip/ tiny",
      shows: /403.*method-not-allowed.*/,
    },
  },
  {
    at: "pnpm",
    name: "pnpm",
    prepare: 'echo \'{ "name": "mine", "version": "1.0.0" }\' >package.json',
    download: {
      line: `${BIN}/pnpm add --registry $NPM_REGISTRY ${REGISTRY} && ls node_modules`,
      shows: /^is-number$/m,
      says: "a package of the registry",
    },
    refusedHost: {
      line: `pnpm_config_fetch_retries=0 ${BIN}/pnpm add --registry https://$AWAY/ is-odd`,
      shows: /client error \(Connect\): tunnel error: unsuccessful/,
    },
    refusedMethod: {
      line: `echo "\${BASE#https:}/pnpm/:_authToken=x" >.npmrc; ${BIN}/pnpm publish --no-git-checks --registry $BASE/pnpm/`,
      shows: /^.*403.*$/m,
    },
  },
  {
    at: "yarn",
    name: "yarn",
    prepare: 'echo \'{ "name": "mine", "version": "1.0.0" }\' >package.json',
    download: {
      line: `${BIN}/yarn add --registry $NPM_REGISTRY ${REGISTRY} && ls node_modules`,
      shows: /^is-number$/m,
      says: "a package of the registry",
    },
    refusedHost: {
      line: `${BIN}/yarn add --registry https://$AWAY/ is-odd`,
      shows: /^error .*$/m,
    },
    refusedMethod: {
      line: `NPM_AUTH_TOKEN=x ${BIN}/yarn publish --non-interactive --new-version 1.0.1 --registry $BASE/yarn`,
      shows: /^error .*$/m,
    },
  },
  {
    at: "apt",
    name: "apt",
    download: {
      line: "apt-get update -qq && apt-get install -qq -y --no-install-recommends hello && hello",
      shows: /^Hello, world!$/m,
      says: "a package of the archive",
    },
    refusedHost: {
      line: `echo "deb [trusted=yes] https://$AWAY/ ./" >list; apt-get update -o Dir::Etc::sourcelist=$PWD/list -o Dir::Etc::sourceparts=- -o Acquire::Retries=0 -o Dir::State::lists=$PWD`,
      shows: /403 +Forbidden \(sallyport: host-not-allowed\)/,
    },
    never: "(it only reads)",
  },
  {
    at: "cargo",
    name: "cargo",
    prepare:
      'cargo init -q --vcs none --name mine . && printf \'tiny = { version = "1", registry = "ours" }\\n\' >>Cargo.toml',
    download: {
      line: "CARGO_REGISTRIES_OURS_INDEX=sparse+$BASE/cargo/index/ cargo fetch",
      shows: /Downloaded tiny v1\.0\.0/,
      says: "a crate",
    },
    refusedHost: {
      line: "rm -f Cargo.lock; CARGO_NET_RETRY=0 CARGO_REGISTRIES_OURS_INDEX=sparse+https://$AWAY/ cargo fetch",
      shows: /CONNECT tunnel failed, response 403/,
    },
    refusedMethod: {
      line: "CARGO_REGISTRIES_OURS_INDEX=sparse+$BASE/cargo/index/ CARGO_REGISTRIES_OURS_TOKEN=x cargo yank --registry ours tiny@1.0.0",
      shows: /403 Forbidden \(sallyport: method-not-allowed\)/,
    },
  },
  {
    at: "go",
    name: "Go",
    prepare: "GO111MODULE=off go build -o fetch /programs/fetch.go",
    download: {
      line: "GOPROXY=$BASE/go GOSUMDB=off go mod download -x example.test/tiny@v1.0.0 && ls go/pkg/mod/example.test",
      shows: /^tiny@v1\.0\.0$/m,
      says: "a module",
    },
    refusedHost: {
      line: "GOPROXY=https://$AWAY GOSUMDB=off go mod download example.test/other@v1.0.0",
      shows: /Forbidden \(sallyport: host-not-allowed\)/,
    },
    refusedMethod: {
      line: "./fetch POST $BASE/go/sent the-code",
      shows: /403 Forbidden \(sallyport: method-not-allowed\)/,
    },
  },
  {
    ...program("java", "Java (both of the JDK's clients)", "java -XX:TieredStopAtLevel=1 -cp . Fetch", {
      host: /Proxy returns "HTTP\/1\.1 403 Forbidden \(sallyport: host-not-allowed\)"/,
      method: PAGE,
    }),
    prepare: "javac -d . /programs/Fetch.java",
  },
  {
    at: "maven",
    name: "Maven",
    prepare: "cp /inside/pom.xml .",
    download: {
      line: "mvn -B -Dat=$BASE/maven -Dmaven.repo.local=one -s /inside/settings.xml validate",
      shows: /BUILD SUCCESS/,
      says: "an artifact",
    },
    refusedHost: {
      line: "mvn -B -Dat=https://$AWAY -Dmaven.repo.local=two -s /inside/settings.xml validate",
      shows: /Forbidden \(sallyport: host-not-allowed\)|status code 403|\[ERROR\].*403.*/,
    },
    never: "(to deploy needs a plugin; it sends as Java does)",
  },
  program("node-fetch", "Node fetch", "node /programs/fetch.mjs", {
    host: /Proxy response \(403\) !== 200 when HTTP Tunneling/,
    method: PAGE,
  }),
  program("node-https", "Node https", "node /inside/node-https.mjs", {
    host: /HTTP\/1\.1 (403 Forbidden \(sallyport: host-not-allowed\))/,
    method: PAGE,
  }),
  program("undici", "undici", "node /programs/undici.mjs", {
    host: /Proxy response \(403\) !== 200 when HTTP Tunneling/,
    method: PAGE,
  }),
  program("urllib", "Python urllib", "python3 /programs/fetch.py", {
    host: /Tunnel connection failed: 403 Forbidden \(sallyport: host-not-allowed\)/,
    method: /HTTP Error 403: Forbidden \(sallyport: method-not-allowed\)/,
  }),
  program("requests", "Python requests", "python3 /inside/fetch-requests.py", {
    host: /Tunnel connection failed: 403 Forbidden \(sallyport: host-not-allowed\)/,
    method: PAGE,
  }),
  program("httpx", "Python httpx", "python3 /inside/fetch-httpx.py", {
    host: /403 Forbidden \(sallyport: host-not-allowed\)/,
    method: PAGE,
  }),
  {
    at: "gem",
    name: "gem",
    download: {
      line: "gem install --clear-sources --source $BASE/gem/ --install-dir gems --no-document tiny",
      shows: /Successfully installed tiny-1\.0\.0/,
      says: "a gem",
    },
    refusedHost: {
      line: "gem install --clear-sources --source https://$AWAY/ --install-dir gems other",
      shows: /403.*host-not-allowed.*/,
    },
    refusedMethod: {
      line: "GEM_HOST_API_KEY=x gem push --host $BASE/gem gems/cache/tiny-1.0.0.gem",
      shows: PAGE,
    },
  },
  {
    at: "chromium",
    name: "Chromium",
    prepare:
      "mkdir -p .pki/nssdb && certutil -d sql:.pki/nssdb -N --empty-password && certutil -d sql:.pki/nssdb -A -n Sallyport -t C,, -i /etc/sallyport/ca.pem && mkdir -p /packages/chromium && cp /inside/sends.html /packages/chromium/",
    download: { line: chromium("$BASE/chromium/download"), shows: DOWNLOADED, says: SAYS_DOWNLOADED },
    refusedHost: { line: chromium("https://$AWAY/"), shows: /ERR_TUNNEL_CONNECTION_FAILED/ },
    refusedMethod: { line: chromium("$BASE/chromium/sends.html"), shows: PAGE },
  },
  websocket("undici", "WebSocket of Node", {
    host: /^.*non-101.*$|^TypeError$/m,
    upgrade: /^.*non-101.*$|^TypeError$/m,
  }),
  websocket("ws", "WebSocket of ws", {
    host: /HTTP\/1\.1 (403 Forbidden \(sallyport: host-not-allowed\))/,
    upgrade: /Unexpected server response: 403/,
  }),
  {
    at: "grpc",
    name: "gRPC (grpc-js)",
    download: {
      line: "for kind in unary collect echo; do node /inside/grpc.mjs $GRPC $kind || exit 1; done",
      shows: /^one\nOK: \na\+b\nOK: \n<a>\n<b>\nOK: $/m,
      says: "unary and streaming calls",
    },
    refusedHost: {
      line: "node /inside/grpc.mjs $AWAY unary",
      shows: /^UNAVAILABLE: No connection established/m,
    },
    refusedMethod: {
      line: "node /inside/grpc.mjs $GRPC fail",
      shows: /^PERMISSION_DENIED: sallyport: method-not-allowed/m,
      path: "/shop.Orders/Fail",
    },
  },
];

/** Opened at a path where everything is allowed; elsewhere it hides writes from a policy that only reads. */
function websocket(which: "undici" | "ws", name: string, shows: { host: RegExp; upgrade: RegExp }): Row {
  const open = `node /inside/websocket.mjs ${which}`;
  return {
    at: `socket-${which}`,
    name,
    download: { line: `${open} wss://origin.test/sockets/echo`, shows: /^<hello>$/m, says: "a message" },
    refusedHost: { line: `${open} wss://$AWAY/`, shows: shows.host },
    refusedMethod: {
      line: `${open} wss://origin.test/$AT/`,
      shows: shows.upgrade,
      reason: "upgrade-not-allowed",
    },
  };
}
