// The shell script that puts the trust anchor into the store of an image's system, and into Java's where the system does not, and, where
// it is given an address, leads there what programs send that know of no proxy. It is run by root inside the sandbox's image or
// container, holds the certificate itself, and must never turn verification off.

export type ImageSystem = "debian" | "alpine" | "rhel";

export function setupScript(system: ImageSystem, trustAnchor: string): string {
  const { file, update, packageCommand, javaStore } = SYSTEMS[system];
  return `#!/bin/sh
# Trusts Sallyport's CA. With its ADDRESS, also leads HTTPS, HTTP and DNS there, for programs that ignore proxy variables; the ports
# are those of transparent and dns in sallyport.yaml:
#   curl -fsS http://sallyport.internal/setup/${system} | sh -s -- [ADDRESS [HTTPS-PORT [HTTP-PORT [DNS-PORT]]]]
set -eu
command -v ${update} >/dev/null || { echo "first: ${packageCommand}" >&2; exit 1; }
mkdir -p ${file.slice(0, file.lastIndexOf("/"))}
cat > ${file} <<'SALLYPORT'
${trustAnchor.trim()}
SALLYPORT
chmod 644 ${file}
${update}
# A JDK of its own (not the system's package) keeps a store of its own.
if [ ! -e ${javaStore} ] && command -v keytool >/dev/null; then
  keytool -delete -cacerts -storepass changeit -alias sallyport >/dev/null 2>&1 || :
  keytool -importcert -noprompt -cacerts -storepass changeit -alias sallyport -file ${file}
fi
${REDIRECT}`;
}

// It is no wall, which a network must be: root in the sandbox can take it away again.
const REDIRECT = `
[ $# -gt 0 ] || exit 0
proxy=$1 https=\${2:-8443} http=\${3:-8080} dns=\${4:-5353}
command -v nft >/dev/null || command -v iptables >/dev/null || { echo "first: install nftables or iptables" >&2; exit 1; }
# What has no route never comes to the filter. What a resolver of the container's own is asked would not leave.
ip -4 route | grep -q ^default || ip -4 route add default via "$proxy"
echo "nameserver $proxy" > /etc/resolv.conf
if command -v nft >/dev/null; then
  nft -f - <<RULES
table ip sallyport
delete table ip sallyport
table ip sallyport {
  chain leaving {
    type nat hook output priority -100;
    tcp dport 443 dnat to $proxy:$https
    tcp dport 80 dnat to $proxy:$http
    udp dport 53 dnat to $proxy:$dns
    tcp dport 53 dnat to $proxy:$dns
  }
}
RULES
else
  iptables -t nat -N sallyport 2>/dev/null || iptables -t nat -F sallyport
  iptables -t nat -C OUTPUT -j sallyport 2>/dev/null || iptables -t nat -A OUTPUT -j sallyport
  iptables -t nat -A sallyport -p tcp --dport 443 -j DNAT --to-destination "$proxy:$https"
  iptables -t nat -A sallyport -p tcp --dport 80 -j DNAT --to-destination "$proxy:$http"
  iptables -t nat -A sallyport -p udp --dport 53 -j DNAT --to-destination "$proxy:$dns"
  iptables -t nat -A sallyport -p tcp --dport 53 -j DNAT --to-destination "$proxy:$dns"
fi
`;

const SYSTEMS = {
  debian: {
    file: "/usr/local/share/ca-certificates/sallyport.crt",
    update: "update-ca-certificates",
    packageCommand: "apt-get install ca-certificates",
    javaStore: "/etc/ca-certificates/update.d/jks-keystore",
  },
  alpine: {
    file: "/usr/local/share/ca-certificates/sallyport.crt",
    update: "update-ca-certificates",
    packageCommand: "apk add ca-certificates",
    javaStore: "/etc/ca-certificates/update.d/java-cacerts",
  },
  rhel: {
    file: "/etc/pki/ca-trust/source/anchors/sallyport.pem",
    update: "update-ca-trust",
    packageCommand: "dnf install ca-certificates",
    javaStore: "/etc/pki/ca-trust/extracted/java/cacerts",
  },
} as const;
