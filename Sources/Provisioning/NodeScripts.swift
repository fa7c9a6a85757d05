// SPDX-License-Identifier: Apache-2.0

import Core

/// The texts that machines run, for a plain `sh`. Names and folders come from a `ClusterFile`, whose reader lets only plain words through;
/// everything else is quoted.
public struct NodeScripts: Sendable {
  public let file: ClusterFile

  public init(_ file: ClusterFile) { self.file = file }

  /// 'it''s' for a shell.
  static func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }

  private func runFolder(_ node: ClusterFile.Node) -> String { node.dataDirectory + "/run" }
  private var program: String { file.installDirectory + "/current/bin/platform" }

  /// Asks a machine about itself; changes nothing.
  public func facts(_ node: ClusterFile.Node, libraries: [String]) -> String {
    """
    say() { printf 'fact:%s=%s\\n' "$1" "$2"; }
    PATH=$PATH:/usr/sbin:/sbin
    say arch "$(uname -m)"
    say host "$(uname -n)"
    say os "$(. /etc/os-release 2>/dev/null; printf %s "${PRETTY_NAME:-}")"
    say libc "$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)"
    say cpus "$(nproc)"
    say memory_kb "$(awk '/^MemTotal/ {print $2}' /proc/meminfo)"
    say flags "$(awk -F: '/^flags/ {print $2; exit}' /proc/cpuinfo)"
    say time "$(date +%s.%N)"
    say user "$(id -un)"
    say uid "$(id -u)"
    as=
    if [ "$(id -u)" = 0 ]; then say power root; elif sudo -n true 2>/dev/null; then say power sudo; as='sudo -n'; else say power none; fi
    systemd=
    if [ -d /run/systemd/system ]; then systemd=yes; say systemd yes; fi
    if command -v apt-get >/dev/null; then say apt yes; fi
    \(file.serviceUser.map { "say service_uid \"$(id -u \($0) 2>/dev/null)\"" } ?? ":")
    folder=\(node.dataDirectory)
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    say free_kb "$(df -Pk "$folder" | awk 'NR==2 {print $4}')"
    say bundle "$(cat \(file.installDirectory)/current/.bundle 2>/dev/null)"
    known=$(ldconfig -p 2>/dev/null)
    missing=
    for library in \(libraries.map(Self.quoted).joined(separator: " ")); do
      case "$known" in *"$library "*) ;; *) missing="$missing $library" ;; esac
    done
    say missing "$missing"
    say postgres "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)"
    say listening "$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4=="0A" {n=split($2,a,":"); print a[n]}' | sort -u | tr '\\n' ' ')"
    running=
    for role in coordinator worker; do
      if [ "$systemd" ]; then
        if systemctl is-active --quiet platform-$role-\(node.name).service; then running="$running $role"; fi
        settings=/etc/systemd/system/platform-$role-\(node.name).service
      else
        pid=$($as cat \(runFolder(node))/$role.pid 2>/dev/null)
        if [ "$pid" ] && $as kill -0 "$pid" 2>/dev/null; then running="$running $role"; fi
        settings=\(runFolder(node))/$role.command
      fi
      say settings_$role "$($as cat $settings 2>/dev/null | sha256sum | cut -c1-64)"
    done
    say running "$running"
    if $as test -e \(runFolder(node))/upgrading; then say upgrading yes; fi
    say end yes
    """
  }

  /// Installs Debian's packages; run with root's rights.
  public func packages(_ names: [String]) -> String {
    """
    set -e
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null 2>&1 || true
    apt-get install -y -qq \(names.map(Self.quoted).joined(separator: " ")) >/dev/null
    """
  }

  /// Whether the bundle is there already: prints `present`, or makes the folder that it goes to and prints `send`.
  public func prepareBundle(_ id: String) -> String {
    """
    set -e
    base=\(file.installDirectory)
    if [ "$(cat "$base/current/.bundle" 2>/dev/null)" = \(id) ] && (cd "$base/current" && sha256sum --status -c .sums); then
      echo present
      exit 0
    fi
    mkdir -p "$base/versions"
    for old in "$base"/versions/.partial-*; do rm -rf "$old"; done
    mkdir "$base/versions/.partial-\(id)"
    echo send
    """
  }

  /// The command that takes the bundle's tar stream on its standard input.
  public func receiveBundle(_ id: String) -> String { "tar -xf - -C \(file.installDirectory)/versions/.partial-\(id) --no-same-owner" }

  /// Checks what arrived and switches to it by one rename; keeps the version before for a way back.
  public func activateBundle(_ id: String) -> String {
    """
    set -e
    base=\(file.installDirectory)
    cd "$base/versions/.partial-\(id)"
    sha256sum --status -c .sums || { echo 'what arrived is not what was sent' >&2; exit 1; }
    printf '%s\\n' \(id) > .bundle
    chmod -R go+rX,go-w .
    sync -f .bundle
    cd "$base/versions"
    rm -rf \(id)
    mv .partial-\(id) \(id)
    previous=$(readlink "$base/current" || true)
    ln -sfn versions/\(id) "$base/.current-new"
    mv -T "$base/.current-new" "$base/current"
    for old in *; do
      if [ "$old" != \(id) ] && [ "versions/$old" != "$previous" ]; then rm -rf "$old"; fi
    done
    """
  }

  /// Makes the service user and the folders; run with root's rights where there is a service user.
  public func account(_ node: ClusterFile.Node) -> String {
    var lines = ["set -e", "PATH=$PATH:/usr/sbin:/sbin"]
    if let user = file.serviceUser {
      lines.append(
        "id -u \(user) >/dev/null 2>&1 || useradd --system --user-group --home-dir \(node.dataDirectory) --no-create-home --shell /usr/sbin/nologin \(user)")
    }
    lines.append("mkdir -p \(node.dataDirectory) \(runFolder(node)) \(node.dataDirectory)/logs")
    lines.append("chmod 711 \(node.dataDirectory)")
    lines.append("chmod 700 \(runFolder(node)) \(node.dataDirectory)/logs")
    if let storage = file.storage, node.roles.contains(.coordinator) {
      lines.append("mkdir -p \(storage)")
      // Root may have no rights of its own on a folder of another machine.
      if let user = file.serviceUser { lines.append("chown \(user): \(storage) 2>/dev/null || true") }
    }
    if let user = file.serviceUser {
      lines.append("chown \(user): \(node.dataDirectory) \(runFolder(node)) \(node.dataDirectory)/logs")
    }
    return lines.joined(separator: "\n")
  }

  /// Leaves a mark in the shared folder.
  public func mark(_ text: String) -> String? { file.storage.map { "set -e\nprintf %s \(text) > \($0)/.platform-cluster" } }

  /// Prints the mark that this machine sees.
  public var readMark: String? { file.storage.map { "cat \($0)/.platform-cluster 2>/dev/null || true" } }

  /// Prints what the coordinators of a cluster share, as one line: the key pair by which workers know them, the key that unseals secrets, and the
  /// administrator's token.
  public func readKeys(_ node: ClusterFile.Node) -> String {
    """
    set -e
    cd \(node.dataDirectory)
    files='keys/coordinator.json keys/coordinator.pub keys/catalog.key admin-token'
    for name in $files; do if [ ! -r $name ]; then echo "there is no $name yet" >&2; exit 1; fi; done
    tar -cf - $files | base64 -w 0
    """
  }

  /// Puts there what `readKeys` printed, where there is nothing yet; prints `there`, `copied`, or `other` when what is there is another cluster's.
  public func writeKeys(_ node: ClusterFile.Node, _ text: String) -> String {
    """
    set -e
    umask 077
    cd \(node.dataDirectory)
    rm -rf .keys-new
    mkdir .keys-new
    base64 -d <<'END-OF-KEYS' | tar -xf - -C .keys-new --no-same-owner
    \(text)
    END-OF-KEYS
    if [ -e keys/coordinator.json ]; then
      if cmp -s keys/coordinator.json .keys-new/keys/coordinator.json && cmp -s keys/catalog.key .keys-new/keys/catalog.key; then echo there; else echo other; fi
    else
      \(file.serviceUser.map { "chown -R \($0): .keys-new" } ?? ":")
      mkdir -p keys
      \(file.serviceUser.map { "chown \($0): keys" } ?? ":")
      mv .keys-new/admin-token admin-token
      mv .keys-new/keys/catalog.key .keys-new/keys/coordinator.pub keys/
      mv .keys-new/keys/coordinator.json keys/
      echo copied
    fi
    rm -rf .keys-new
    """
  }

  /// What a service is started with.
  public func command(_ role: ClusterFile.Role, _ node: ClusterFile.Node) -> [String] {
    switch role {
    case .coordinator:
      return [
        program, "up", "--foreground", "--workers", "0", "--bind", file.httpAddress(node), "--node-bind", file.controlAddress(node), "--data-dir",
        node.dataDirectory,
      ] + (file.storage.map { ["--storage", $0] } ?? [])
    case .worker:
      return [
        program, "join", file.joinAddresses, "--token-file", runFolder(node) + "/join-token", "--name", node.name, "--data-dir", node.dataDirectory,
      ] + (node.address.map { ["--address", $0] } ?? []) + (node.processors.map { ["--slots", String($0), "--cpus", String($0)] } ?? [])
        + (node.memory.map { ["--memory", $0] } ?? [])
        + node.labels.sorted { $0.key < $1.key }.flatMap { ["--label", "\($0.key)=\($0.value)"] }
    }
  }

  /// Its environment beside the machine's own.
  func environment(_ node: ClusterFile.Node) -> [(name: String, value: String)] {
    let current = file.installDirectory + "/current"
    return [("LD_LIBRARY_PATH", current + "/lib"), ("PLATFORM_LIB", current + "/lib/platform"), ("PLATFORM_HOME", node.dataDirectory)]
  }

  /// A unit's name with systemd: clusters with several data folders on one machine have one each.
  func unitName(_ role: ClusterFile.Role, _ node: ClusterFile.Node) -> String { "platform-\(role.rawValue)-\(node.name).service" }

  /// A unit of systemd.
  func unit(_ role: ClusterFile.Role, _ node: ClusterFile.Node) -> String {
    var lines = [
      "# Written by 'platform up -f'; changes are overwritten.", "[Unit]", "Description=Platform \(role.rawValue) \(node.name) of \(file.name)",
      "After=network-online.target", "Wants=network-online.target", "", "[Service]",
    ]
    if let user = file.serviceUser { lines.append("User=\(user)") }
    lines += environment(node).map { "Environment=\($0.name)=\($0.value)" }
    // Programs get control groups of their own below the worker's.
    if role == .worker { lines += ["Environment=PLATFORM_CGROUP=delegated", "Delegate=cpu memory pids"] }
    if role == .coordinator, case .external = file.database { lines.append("EnvironmentFile=\(runFolder(node))/secrets") }
    lines += [
      "ExecStart=" + command(role, node).joined(separator: " "), "Restart=always", "RestartSec=2", "KillMode=mixed", "TimeoutStopSec=60",
      "LimitNOFILE=65536", "ProtectSystem=full", "ProtectKernelTunables=yes", "", "[Install]", "WantedBy=multi-user.target", "",
    ]
    return lines.joined(separator: "\n")
  }

  /// What is written into a file of the node that only the service may read.
  public func secret(_ name: String, _ node: ClusterFile.Node, text: String) -> String {
    let path = "\(runFolder(node))/\(name)"
    return """
      set -e
      umask 077
      printf '%s\\n' \(Self.quoted(text)) > \(path).new
      \(file.serviceUser.map { "chown \($0): \(path).new" } ?? ":")
      mv \(path).new \(path)
      """
  }

  /// Starts a service, or starts it again when it is another one than before; prints `unchanged`, `started` or `restarted`.
  public func start(_ role: ClusterFile.Role, _ node: ClusterFile.Node, bundle: String, systemd: Bool) -> String {
    systemd ? startUnit(role, node, bundle) : startKept(role, node, bundle)
  }

  /// The text that a started service leaves behind: another one means that it has to be started again.
  func settings(_ role: ClusterFile.Role, _ node: ClusterFile.Node, bundle: String, systemd: Bool) -> String {
    guard !systemd else { return "# bundle \(bundle)\n" + unit(role, node) }
    let words = environment(node).map { "\($0.name)=\(Self.quoted($0.value))" } + [program] + command(role, node).dropFirst().map(Self.quoted)
    return ([bundle] + words).joined(separator: " ")
  }

  private func startUnit(_ role: ClusterFile.Role, _ node: ClusterFile.Node, _ bundle: String) -> String {
    let name = unitName(role, node)
    return """
      set -e
      path=/etc/systemd/system/\(name)
      cat > "$path.new" <<'END-OF-UNIT'
      \(settings(role, node, bundle: bundle, systemd: true).dropLast())
      END-OF-UNIT
      if cmp -s "$path.new" "$path" && systemctl is-active --quiet \(name); then
        rm "$path.new"
        echo unchanged
      else
        if systemctl is-active --quiet \(name); then word=restarted; else word=started; fi
        mv "$path.new" "$path"
        systemctl daemon-reload
        systemctl enable --quiet \(name)
        systemctl restart \(name)
        echo $word
      fi
      """
  }

  /// Where systemd is not the init: a keeper of our own starts it again when it ends.
  private func startKept(_ role: ClusterFile.Role, _ node: ClusterFile.Node, _ bundle: String) -> String {
    let name = role.rawValue
    let folder = runFolder(node)
    let settings = environment(node).map { "\($0.name)=\(Self.quoted($0.value))" }.joined(separator: " ")
    let keep = "\(program) keep --name \(name) --data-dir \(node.dataDirectory) -- \(command(role, node).dropFirst().map(Self.quoted).joined(separator: " "))"
    let asUser = file.serviceUser.map { "runuser -u \($0) -- " } ?? ""
    let secrets = if role == .coordinator, case .external = file.database { "set -a; . \(folder)/secrets; set +a" } else { ":" }
    return """
      set -e
      PATH=$PATH:/usr/sbin:/sbin
      wanted=\(Self.quoted(self.settings(role, node, bundle: bundle, systemd: false)))
      word=started
      if [ -e \(folder)/\(name).pid ] && kill -0 "$(cat \(folder)/\(name).pid)" 2>/dev/null; then
        if [ "$(cat \(folder)/\(name).command 2>/dev/null)" = "$wanted" ]; then echo unchanged; exit 0; fi
        word=restarted
      fi
      \(stopKept(role, node))
      \(secrets)
      cd \(node.dataDirectory)
      \(asUser)env \(settings) setsid \(keep) </dev/null >>\(node.dataDirectory)/logs/\(name).log 2>&1 &
      for i in $(seq 100); do
        if [ -e \(folder)/\(name).pid ] && kill -0 "$(cat \(folder)/\(name).pid)" 2>/dev/null; then break; fi
        sleep 0.1
      done
      printf '%s' "$wanted" > \(folder)/\(name).command
      echo $word
      """
  }

  private func stopKept(_ role: ClusterFile.Role, _ node: ClusterFile.Node) -> String {
    let path = "\(runFolder(node))/\(role.rawValue).pid"
    return """
      if [ -e \(path) ]; then
        pid=$(cat \(path))
        if kill -0 "$pid" 2>/dev/null && tr '\\0' ' ' < /proc/$pid/cmdline | grep -q ' keep --name \(role.rawValue) '; then
          kill "$pid"
          for i in $(seq 700); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
          if kill -0 "$pid" 2>/dev/null; then echo 'it did not stop within 70 s' >&2; exit 1; fi
        fi
        rm -f \(path)
      fi
      """
  }

  /// Stops a service for good; the data stays.
  public func stop(_ role: ClusterFile.Role, _ node: ClusterFile.Node, systemd: Bool) -> String {
    guard systemd else { return "set -e\n" + stopKept(role, node) }
    let name = unitName(role, node)
    return """
      set -e
      if [ -e /etc/systemd/system/\(name) ]; then
        systemctl disable --now --quiet \(name)
        rm -f /etc/systemd/system/\(name)
        systemctl daemon-reload
      fi
      """
  }

  /// Deletes a node's data folder: only one that this program made.
  public func purge(_ node: ClusterFile.Node) -> String {
    """
    set -e
    if [ -d \(runFolder(node)) ]; then rm -rf \(node.dataDirectory); fi
    """
  }

  /// Remembers on the node that an upgrade has closed it for new work, and opens it again.
  public func noteUpgrade(_ node: ClusterFile.Node) -> String { "set -e\n: > \(runFolder(node))/upgrading" }
  public func forgetUpgrade(_ node: ClusterFile.Node) -> String { "rm -f \(runFolder(node))/upgrading" }

  /// The last lines that a service wrote.
  public func lastWords(_ role: ClusterFile.Role, _ node: ClusterFile.Node, systemd: Bool) -> String {
    systemd
      ? "journalctl -q -n 8 --no-pager -o cat -u \(unitName(role, node)) || true" : "tail -n 8 \(node.dataDirectory)/logs/\(role.rawValue).log || true"
  }

  /// Runs our program on a node, as its services run it.
  public func platform(_ node: ClusterFile.Node, _ arguments: [String]) -> String {
    let settings = environment(node).map { "\($0.name)=\(Self.quoted($0.value))" }.joined(separator: " ")
    let asUser = file.serviceUser.map { "PATH=$PATH:/usr/sbin:/sbin runuser -u \($0) -- " } ?? ""
    return "cd \(node.dataDirectory) && \(asUser)env \(settings) \(program) \(arguments.map(Self.quoted).joined(separator: " "))"
  }
}
