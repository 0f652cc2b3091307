// scripts/apt-install.sh among stand-ins for apt-get and systemctl, in a mount namespace that nothing of is left: what is installed for
// the tests starts nothing, and stays disabled; what an administrator decided stays.

import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { run, type Ran } from "../support/run.ts";
import { describeWith } from "./sandbox.ts";
import { temporary } from "./suite.ts";

const SCRIPT = join(import.meta.dirname, "../../scripts/apt-install.sh");
const POLICY = "/usr/sbin/policy-rc.d";

/** Says whether services may be started, and brings one along. */
const APT_GET = `#!/bin/sh
[ "$2" = install ] || exit 0
status=0; "${POLICY}" ssh start 2>/dev/null || status=$?
echo "install $* ($status)" >>"$DIRECTORY/said"
echo 'ssh.service enabled enabled' >>"$DIRECTORY/units"
case "$*" in
  *no-such-package) echo 'E: Unable to locate package'; exit 100 ;;
  *interrupted) kill -TERM $PPID ;;
esac
`;
const SYSTEMCTL = `#!/bin/sh
case "$1" in list-unit-files) cat "$DIRECTORY/units" ;; *) echo "systemctl $*" >>"$DIRECTORY/said" ;; esac
`;

describeWith("what is installed for tests", ["unshare", "mount", "root", "namespaces"], () => {
  let directory: string;
  beforeEach(async () => {
    const own = await temporary("sallyport-apt-");
    onTestFinished(() => own[Symbol.asyncDispose]());
    directory = own.path;
    await mkdir(join(directory, "bin"));
    await writeFile(join(directory, "units"), "cron.service enabled enabled\n");
    for (const [name, text] of [
      ["apt-get", APT_GET],
      ["systemctl", SYSTEMCTL],
    ] as const) {
      await writeFile(join(directory, "bin", name), text);
      await chmod(join(directory, "bin", name), 0o755);
    }
  });

  /** `before`: done to the machine first; what is left of a policy is printed last. */
  const install = (name: string, before = ""): Promise<Ran> =>
    run(
      "unshare",
      [
        "--mount",
        "sh",
        "-c",
        `set -e; mount -t tmpfs none /usr/sbin; mount -t tmpfs none /run; mkdir -p /run/systemd/system
        ${before}
        status=0; "${SCRIPT}" ${name} || status=$?
        [ ! -e ${POLICY} ] || cat ${POLICY}
        exit $status`,
      ],
      {
        cwd: directory,
        env: { DIRECTORY: directory, TMPDIR: directory, PATH: `${directory}/bin:${process.env["PATH"]}` },
      },
    );
  const said = async (): Promise<string[]> =>
    (await readFile(join(directory, "said"), "utf8")).trim().split("\n");
  const FLAGS = "-qq install --no-install-recommends -y";
  const DISABLED = "systemctl --quiet disable --now ssh.service";

  test.each([
    ["openssh-server", 0],
    ["no-such-package", 1],
    ["interrupted", 130],
  ])("%s: nothing may be started, what came is disabled, and nothing is left; %i", async (name, status) => {
    const ran = await install(name);
    expect([ran.status, ran.stdout]).toEqual([status, ""]);
    expect(ran.stderr).toBe(status === 1 ? "E: Unable to locate package\n" : "");
    expect(await said()).toEqual([`install ${FLAGS} ${name} (101)`, DISABLED]);
  });

  test("what an administrator decided stays; what it let start ends", async () => {
    const ran = await install("x", `printf '#!/bin/sh\\nexit 0\\n' >${POLICY}; chmod 755 ${POLICY}`);
    expect(ran).toEqual({ status: 0, stdout: "#!/bin/sh\nexit 0\n", stderr: "" });
    expect(await said()).toEqual([`install ${FLAGS} x (0)`, DISABLED]);
  });

  test("what a run that was killed left behind is taken away", async () => {
    const killed = `printf '#!/bin/sh\\n# Of a test: no package starts its service.\\nexit 101\\n' >${POLICY}; chmod 755 ${POLICY}`;
    expect(await install("x", killed)).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  test("where systemd does not run, nobody asks it", async () => {
    expect(await install("x", "rmdir /run/systemd/system")).toMatchObject({ status: 0 });
    expect(await said()).toEqual([`install ${FLAGS} x (101)`]);
  });
});
