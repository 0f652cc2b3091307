// The part of the doctor that asks: each client on PATH fetches a page of the proxy's own that is always refused, so that nothing but
// the proxy is needed to see whether it is reached, trusted and understood.

export const CLIENTS = String.raw`environment() {
  for pair in $pairs; do
    upper=$(printf %s "$pair" | cut -d: -f1) lower=$(printf %s "$pair" | cut -d: -f2)
    one=$(value "$upper") other=$(value "$lower")
    [ "$one" = "$other" ] && continue
    if [ -z "$one" ]; then
      mend "$lower is set and $upper is not: some clients read that alone" && way "export $upper=\"\$$lower\""
    elif [ -z "$other" ]; then
      mend "$upper is set and $lower is not: some clients read that alone" && way "export $lower=\"\$$upper\""
    else
      mend "$upper and $lower differ" && way "export $lower=\"\$$upper\""
    fi
  done
  for entry in $(printf '%s %s' "$(value NO_PROXY)" "$(value no_proxy)" | tr ',' ' '); do
    case " $inside 127.0.0.0/8 " in
      *" $entry "*) ;;
      *) mend "NO_PROXY lets this past the proxy: $(printf %.80s "$entry" | tr -cd '[:graph:]')" && way "$(fix NO_PROXY)" && way "$(fix no_proxy)" ;;
    esac
  done
  for name in $file_names; do
    file=$(value "$name")
    [ -z "$file" ] || [ -r "$file" ] || { mend "$name names a file that cannot be read" && way "$(fix "$name")"; }
  done
}

# client NAME PROGRAM VARIABLES COMMAND...: VARIABLES say which CA it trusts, or make it use the proxy.
client() {
  name=$1 variables=$3
  there "$2" || return 0
  shift 3
  (
    within 20 "$@" >"$T/said.$name" 2>&1
    [ $? = 139 ] && echo 'command not found' >"$T/said.$name" # it fell over
    judge "$name" "$T/said.$name" "$variables" >"$T/report.1.$name"
  ) &
}

said() { grep -Eqi "$1" "$said"; }

judge() {
  said=$2
  if said 'path-not-allowed'; then
    ok "$1: reaches the proxy, trusts its CA, shows why it is refused"
  elif said 'credentials-(missing|wrong)|proxy auth|unable to tunnel.*407|(response|error:?|code|http|status) 407|407 proxy'; then
    mend "$1: the proxy does not take its credentials" && way 'user and password in the proxy variables, as sallyport env --sandbox ID prints them'
    [ "$1" != java ] || way 'the JVM sends none of itself: give this sandbox a listener or a network of its own (docs/sandboxes.md)'
  elif said 'no compiler|could not find or load main class|fetch is not defined|module not found.*jdk.compiler|pyenv:|rustup could not|command not found'; then
    cannot "$1: it is too old or not whole, and cannot be tested"
  elif said 'seteuid|setgroups'; then
    mend "$1: may not change its user here" && way "echo 'APT::Sandbox::User \"root\";' > /etc/apt/apt.conf.d/99sallyport"
  elif said 'resolve proxy'; then
    mend "$1: the name of the proxy is not known here" && way 'name the proxy by its address in the proxy variables'
  elif said 'resolv|ENOTFOUND|EAI_AGAIN|UnknownHost|no such host|name or service|name resolution|not known|network is unreachable|ENETUNREACH'; then
    mend "$1: does not use the proxy"
    for variable in HTTPS_PROXY https_proxy HTTP_PROXY http_proxy $variables; do
      case $variable in *_PROXY | *_proxy | JAVA_*) [ -n "$(value "$variable")" ] || way "$(fix "$variable")" ;; esac
    done
    way 'where all of these are set: has it a setting of its own, or does NO_PROXY name the host?'
  elif said 'certificate|x509|PKIX|CERT_|self.signed|issuer|unknown.?ca|trustAnchors'; then
    mend "$1: does not trust the CA of the proxy" && for variable in $variables; do way "$(fix "$variable")"; done
  elif said '403'; then
    ok "$1: reaches the proxy and trusts its CA; of a refusal it says 403 alone"
  else
    mend "$1: gets no answer of the proxy in time" && way 'is the proxy up, and does the network lead to it? Is the proxy variable right?'
  fi
}

clients() {
  page=https://sallyport.internal/doctor/refused
  client curl curl CURL_CA_BUNDLE curl -sS -m 10 "$page"
  client curl.http curl '' curl -sS -m 10 http://sallyport.internal/doctor/refused
  if there wget && wget --help 2>&1 | grep -q BusyBox; then
    client wget wget '' wget -T 10 -O - http://sallyport.internal/doctor/refused
    cannot 'wget: that of BusyBox verifies no certificates, so https:// cannot be tested' >"$T/report.1.wget.tls"
  else
    client wget wget WGETRC wget -nv -T 10 -t 1 -O - "$page"
    client wget.http wget '' wget -nv -T 10 -t 1 -O - http://sallyport.internal/doctor/refused
  fi
  client git git GIT_SSL_CAINFO env GIT_TERMINAL_PROMPT=0 git -c credential.helper= -c core.askPass=true ls-remote "$page"
  client node node 'NODE_EXTRA_CA_CERTS NODE_USE_ENV_PROXY' node -e '
    const say = (text) => require("fs").writeSync(1, String(text));
    fetch(process.argv[1]).then((r) => r.text()).then(say, ({ cause: c }) => say(c && c.code + " " + c.message))' "$page"
  client npm npm npm_config_cafile env npm_config_cache="$T/npm" npm_config_logs_max=0 npm_config_update_notifier=false \
    npm_config_fetch_retries=0 npm_config_fetch_timeout=10000 npm ping --registry "$page/"
  pip=pip
  there pip || pip=pip3
  client pip "$pip" PIP_CERT "$pip" download --no-deps --no-cache-dir --disable-pip-version-check --retries 0 --timeout 10 \
    -d "$T/pip" "$page/doctor-1-py3-none-any.whl"
  client python3 python3 SSL_CERT_FILE python3 -c '
import sys, urllib.request
try: urllib.request.urlopen(sys.argv[1], timeout=10)
except Exception as e: print(e)' "$page"
  mkdir "$T/in"
  client go go SSL_CERT_FILE env GO111MODULE=on GOFLAGS=-modcacherw GOPROXY="$page" GONOPROXY=none GOPRIVATE= GOSUMDB=off GOTOOLCHAIN=local \
    GOWORK=off GOMODCACHE="$T/go" GOCACHE="$T/go-build" sh -c 'cd "$1" && exec go list -m sallyport.internal/doctor@latest' sh "$T/in"
  cat >"$T/Doctor.java" <<'JAVA'
class Doctor {
  public static void main(String[] page) throws Exception {
    java.net.HttpURLConnection asked = (java.net.HttpURLConnection) new java.net.URL(page[0]).openConnection();
    asked.setConnectTimeout(10000);
    asked.setReadTimeout(10000);
    System.out.println(asked.getResponseCode() + " " + asked.getResponseMessage());
  }
}
JAVA
  client java java JAVA_TOOL_OPTIONS java "$T/Doctor.java" "$page"
  mkdir "$T/cargo"
  for file in config config.toml; do
    [ -r "$(value HOME)/.cargo/$file" ] && cp "$(value HOME)/.cargo/$file" "$T/cargo/"
  done
  client cargo cargo CARGO_HTTP_CAINFO env CARGO_HOME="$T/cargo" CARGO_NET_RETRY=0 CARGO_HTTP_TIMEOUT=10 cargo search --index "sparse+$page/" doctor
  client apt /usr/lib/apt/apt-helper APT_CONFIG /usr/lib/apt/apt-helper -o Acquire::Retries=0 -o Acquire::https::Timeout=10 \
    download-file "$page" "$T/apt"
  # What gem list could not get, it says nothing of.
  client gem gem SSL_CERT_FILE env GEM_SPEC_CACHE="$T/gem" gem fetch doctor --clear-sources --source "$page/"
  there docker && cannot 'docker: its daemon fetches by itself, with an environment of its own, and cannot be tested from here' >"$T/report.1.docker"
}
`;
