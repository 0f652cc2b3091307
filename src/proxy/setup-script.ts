// The shell script that puts the trust anchor into the store of an image's system, and into Java's where the system does not. It is run
// by root inside the sandbox's image, holds the certificate itself, and must never turn verification off.

export type ImageSystem = "debian" | "alpine" | "rhel";

export function setupScript(system: ImageSystem, trustAnchor: string): string {
  const { file, update, packageCommand, javaStore } = SYSTEMS[system];
  return `#!/bin/sh
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
`;
}

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
