// SPDX-License-Identifier: Apache-2.0

/// The program of a `python_wheel_task`: calls an entry point of an installed package.
public enum PythonWheelProgram {
  public static let name = "wheel.py"

  /// Its arguments: the package, the entry point, and what that gets in `sys.argv`.
  public static func arguments(package: String, entryPoint: String, parameters: [String], named: [String: String]) -> [String] {
    [package, entryPoint] + parameters + named.sorted { $0.key < $1.key }.map { "--\($0.key)=\($0.value)" }
  }

  /// As Databricks does: an entry point of the package's metadata, otherwise a function of the module that is called like the package.
  public static let text = """
    # SPDX-License-Identifier: Apache-2.0
    import importlib
    import sys
    from importlib import metadata

    package, entry = sys.argv[1:3]
    sys.argv = [entry] + sys.argv[3:]


    def find():
        try:
            points = metadata.distribution(package).entry_points
        except metadata.PackageNotFoundError:
            points = []
        for point in points:
            if point.name == entry:
                return point.load()
        name = package.replace("-", "_")
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            sys.exit(f"there is no package {package!r} here: name it in the task's 'libraries' or its environment")
        function = getattr(module, entry, None)
        if not callable(function):
            known = ", ".join(sorted(point.name for point in points)) or "none"
            sys.exit(f"{package!r} has no entry point and no function '{entry}'; entry points: {known}")
        return function


    find()()

    """
}
