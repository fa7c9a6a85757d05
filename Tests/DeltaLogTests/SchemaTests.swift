// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

@Suite struct SchemaTests {
  static let schema = StructType(fields: [
    StructField(name: "p", type: .primitive("string")), StructField(name: "id", type: .primitive("integer")),
    StructField(
      name: "s",
      type: .structure(
        StructType(fields: [
          StructField(name: "x", type: .primitive("float")),
          StructField(name: "list", type: .array(.structure(StructType(fields: [StructField(name: "y", type: .primitive("date"))])), containsNull: true)),
        ]))),
  ])

  static func snapshot(_ schema: StructType = schema, _ configuration: [String: String] = [:], features: Set<TableFeature> = []) -> Snapshot {
    let metadata = TableMetadata(schema: schema, partitionColumns: ["p"], configuration: configuration)
    return Snapshot(
      version: 1, tableProtocol: .supporting(TableFeature.used(by: metadata, schema).union(features)), metadata: metadata, schema: schema,
      filesByPath: [:], transactions: [:], domains: [:], tombstones: [:])
  }

  static func mapped() throws -> Snapshot {
    let metadata = try ColumnMapping.newTable(TableMetadata(schema: schema, partitionColumns: ["p"]))
    let schema = try StructType(parsing: metadata.schemaString)
    return Snapshot(
      version: 1, tableProtocol: .supporting([.columnMapping]), metadata: metadata, schema: schema, filesByPath: [:], transactions: [:],
      domains: [:], tombstones: [:])
  }

  static func change(_ base: Snapshot, _ body: (inout SchemaChange) throws -> Void) throws -> (actions: [Action], schema: StructType, metadata: TableMetadata) {
    var change = SchemaChange(base)
    try body(&change)
    let actions = try change.actions()
    for case .metadata(let metadata) in actions { return (actions, try StructType(parsing: metadata.schemaString), metadata) }
    return (actions, base.schema, base.metadata)
  }

  @Test func mappedTablesKeepIdsAndPhysicalNames() throws {
    let base = try Self.mapped()
    try ColumnMapping.validate(base.schema, mode: .name)
    #expect(base.metadata.configuration["delta.columnMapping.maxColumnId"] == "6")
    let id = try #require(base.schema.field(at: ["id"]))
    #expect(id.field.columnId == 2 && id.physicalPath[0].hasPrefix("col-"))
    let renamed = try Self.change(base) { try $0.renameColumn(["ID"], to: "key, with comma") }
    #expect(renamed.schema.field(at: ["key, with comma"])?.physicalPath == id.physicalPath)
    let partition = try Self.change(base) { try $0.renameColumn(["p"], to: "q") }
    #expect(partition.metadata.partitionColumns == ["q"])
    // A dropped column that comes back is another one.
    let again = try Self.change(base) {
      try $0.dropColumn(["id"])
      try $0.addColumn(StructField(name: "id", type: .primitive("integer")), at: .after("P"))
    }
    let fresh = try #require(again.schema.field(at: ["id"]))
    #expect(fresh.field.columnId == 7 && fresh.physicalPath != id.physicalPath && again.schema.fields.map(\.name) == ["p", "id", "s"])
    #expect(again.metadata.configuration["delta.columnMapping.maxColumnId"] == "7")
    let nested = try Self.change(base) {
      try $0.addColumn(StructField(name: "z", type: .primitive("long")), below: ["s", "list", "element"], at: .first)
      try $0.dropColumn(["s", "x"])
    }
    try ColumnMapping.validate(nested.schema, mode: .name)
    #expect(nested.schema.field(at: ["s", "x"]) == nil && nested.schema.schemaString.contains("\"name\":\"z\""))
    let physical = ColumnMapping.physicalSchema(base.schema)
    #expect(physical.fields.allSatisfy { $0.name.hasPrefix("col-") } && physical.fields[1].metadata["parquet.field.id"] == 2)
  }

  @Test func mappingIsTurnedOnForFilesThatAreThere() throws {
    let base = Self.snapshot()
    let actions = try ColumnMapping.enable(base)
    guard case .protocol(let tableProtocol) = actions[0], case .metadata(let metadata) = actions[1] else { return #expect(Bool(false)) }
    #expect(tableProtocol.supports(.columnMapping) && tableProtocol.minReaderVersion == 3)
    let schema = try StructType(parsing: metadata.schemaString)
    schema.forEachField { #expect($0.physicalName == $0.name && $0.columnId != nil) }
    let byProperty = try Self.change(base) { try $0.setProperties(["delta.columnMapping.mode": "name"]) }
    #expect(byProperty.schema == schema)
    for mode in ["id", "none", "x"] {
      #expect(errorCode { _ = try Self.change(Self.mapped()) { try $0.setProperties(["delta.columnMapping.mode": mode]) } } == .invalidArgument)
    }
  }

  @Test func damagedMappingsAreRefused() throws {
    let base = try Self.mapped()
    var schema = base.schema
    schema.fields[1].metadata["delta.columnMapping.id"] = .integer(1)
    #expect(errorText { try ColumnMapping.validate(schema, mode: .name) }?.contains("twice") == true)
    schema = base.schema
    schema.fields[1].metadata["delta.columnMapping.physicalName"] = nil
    #expect(errorText { try ColumnMapping.validate(schema, mode: .id) }?.contains("no physical name") == true)
    schema = base.schema
    schema.fields[1].metadata["delta.columnMapping.physicalName"] = schema.fields[0].metadata["delta.columnMapping.physicalName"]
    #expect(errorCode { try ColumnMapping.validate(schema, mode: .name) } == .invalidFile)
    try ColumnMapping.validate(Self.schema, mode: .none)
  }

  @Test func columnsThatAreUsedStay() throws {
    let base = try Self.mapped()
    let cases: [(String, (inout SchemaChange) throws -> Void)] = [
      ("partition column", { try $0.dropColumn(["p"]) }), ("no column", { try $0.dropColumn(["none"]) }),
      ("exists already", { try $0.addColumn(StructField(name: "ID", type: .primitive("long"))) }),
      ("must allow null", { try $0.addColumn(StructField(name: "n", type: .primitive("long"), nullable: false)) }),
      ("default", { try $0.addColumn(StructField(name: "n", type: .primitive("long"), metadata: ["CURRENT_DEFAULT": "1"])) }),
      ("exists already", { try $0.renameColumn(["id"], to: "S") }),
      ("no struct", { try $0.addColumn(StructField(name: "n", type: .primitive("long")), below: ["id"]) }),
      (
        "names the column",
        { change in
          try change.addConstraint("c", "\"Id\" > 0 AND p <> 'id'")
          try change.renameColumn(["id"], to: "k")
        }
      ),
      (
        "last column",
        { change in
          try change.dropColumn(["s", "x"])
          try change.dropColumn(["s", "list"])
        }
      ),
    ]
    for (expected, body) in cases {
      let text = errorText { _ = try Self.change(base, body) }
      #expect(text?.contains(expected) == true, "\(expected): \(text ?? "no error")")
    }
    #expect(errorText { _ = try Self.change(Self.snapshot()) { try $0.dropColumn(["id"]) } }?.contains("needs column mapping") == true)
    var clustered = base
    clustered.metadata.partitionColumns = []
    let action = try ClusteringColumns.action([["s", "x"]], schema: base.schema)
    guard case .domain(let domain) = action else {
      Issue.record("clustering is kept as \(action)")
      return
    }
    clustered.domains[domain.domain] = domain
    #expect(try ClusteringColumns.read(clustered.domains) == [base.schema.field(at: ["s", "x"])!.physicalPath])
    #expect(errorText { _ = try Self.change(clustered) { try $0.dropColumn(["s"]) } }?.contains("clustered") == true)
    #expect(errorCode { _ = try ClusteringColumns.action([["s"]], schema: base.schema) } == .invalidArgument)
  }

  @Test func namesInExpressionsAreFound() {
    for text in ["id>0", "a + \"ID\"", "`id` = 1", "f(x,id)", "id"] { #expect(SQLNames.mentions(text, "id")) }
    for text in ["'id' = x", "ident > 0", "my_id", "x = 'it''s id'", ""] { #expect(!SQLNames.mentions(text, "id")) }
  }

  @Test(arguments: [
    ("byte", "short", true), ("short", "long", true), ("long", "integer", false), ("float", "double", true), ("integer", "double", true),
    ("long", "double", false),
    ("date", "timestamp_ntz", true), ("date", "timestamp", false), ("decimal(5,2)", "decimal(7,4)", true), ("decimal(5,2)", "decimal(6,4)", false),
    ("decimal(5,2)", "decimal(5,2)", false), ("integer", "decimal(10,0)", true), ("integer", "decimal(11,2)", false), ("long", "decimal(20,0)", true),
    ("string", "binary", false), ("long", "long", false),
  ]) func wideningFollowsTheProtocol(_ from: String, _ to: String, _ expected: Bool) {
    #expect(TypeWidening.allows(.primitive(from), .primitive(to)) == expected)
  }

  @Test func twoSchemasAreReadInTheWiderTypes() throws {
    func schema(_ id: String, _ inner: String, _ item: String) -> StructType {
      StructType(fields: [
        StructField(name: "id", type: .primitive(id)),
        StructField(name: "s", type: .structure(StructType(fields: [StructField(name: "x", type: .primitive(inner))]))),
        StructField(name: "l", type: .array(.primitive(item), containsNull: true)),
      ])
    }
    let now = schema("integer", "float", "string")
    #expect(TypeWidening.common(now, schema("long", "double", "string")).schema == schema("long", "double", "string"))
    #expect(TypeWidening.common(now, schema("short", "float", "date")).schema == now)
    #expect(TypeWidening.common(now, StructType(fields: [])).schema == now)
    let (none, clash) = TypeWidening.common(now, schema("string", "float", "string"))
    #expect(none == nil && clash == "id")
    #expect(TypeWidening.common(now, schema("integer", "date", "string")).clash == "s")
  }

  @Test func typeChangesAreRecorded() throws {
    let base = Self.snapshot(Self.schema, ["delta.enableTypeWidening": "true"])
    let changed = try Self.change(base) {
      try $0.changeType(["id"], to: .primitive("long"))
      try $0.changeType(["s", "x"], to: .primitive("double"))
    }
    #expect(changed.schema.fields[1].type == .primitive("long"))
    #expect(changed.schema.fields[1].metadata["delta.typeChanges"] == [["fromType": "integer", "toType": "long"]])
    try TypeWidening.validate(changed.schema)
    let map = StructType(fields: [
      StructField(name: "p", type: .primitive("string")),
      StructField(name: "m", type: .array(.map(.primitive("float"), .primitive("decimal(6,2)"), valueContainsNull: true), containsNull: true)),
    ])
    let nested = try Self.change(Self.snapshot(map, ["delta.enableTypeWidening": "true"])) {
      try $0.changeType(["m"], to: .array(.map(.primitive("double"), .primitive("decimal(10,4)"), valueContainsNull: true), containsNull: true))
    }
    #expect(
      nested.schema.fields[1].metadata["delta.typeChanges"] == [
        ["fromType": "float", "toType": "double", "fieldPath": "element.key"],
        ["fromType": "decimal(6,2)", "toType": "decimal(10,4)", "fieldPath": "element.value"],
      ])
    #expect(errorText { _ = try Self.change(base) { try $0.changeType(["id"], to: .primitive("string")) } }?.contains("cannot change") == true)
    #expect(errorText { _ = try Self.change(Self.snapshot()) { try $0.changeType(["id"], to: .primitive("long")) } }?.contains("does not allow") == true)
    var strange = Self.schema
    strange.fields[1].metadata["delta.typeChanges"] = [["fromType": "string", "toType": "integer"]]
    #expect(errorCode { try TypeWidening.validate(strange) } == .invalidFile)
  }

  @Test func incomingColumnsAreMerged() throws {
    let incoming = StructType(fields: [
      StructField(name: "ID", type: .primitive("long")), StructField(name: "new", type: .primitive("string"), nullable: false),
      StructField(name: "s", type: .structure(StructType(fields: [StructField(name: "w", type: .primitive("long"))]))),
    ])
    #expect(errorText { _ = try Self.change(Self.snapshot()) { try $0.merge(incoming) } }?.contains("'ID' is int") == true)
    let merged = try Self.change(Self.snapshot(Self.schema, ["delta.enableTypeWidening": "true"])) { try $0.merge(incoming) }
    #expect(merged.schema.fields.map(\.name) == ["p", "id", "s", "new"] && merged.schema.fields[3].nullable)
    #expect(merged.schema.field(at: ["id"])?.field.type == .primitive("long") && merged.schema.field(at: ["s", "w"]) != nil)
    // Narrower data fits, and the same columns change nothing.
    let narrow = StructType(fields: [StructField(name: "id", type: .primitive("short"))])
    #expect(try Self.change(Self.snapshot()) { try $0.merge(narrow) }.actions.isEmpty)
    #expect(try Self.change(Self.snapshot()) { try $0.merge(Self.schema) }.actions.isEmpty)
  }

  @Test func constraintsAndDefaultsAreMetadata() throws {
    let base = Self.snapshot()
    let changed = try Self.change(base) {
      try $0.addConstraint("Positive", "id > 0")
      try $0.setDefault(["id"], "7")
      try $0.setComment(["id"], "the key")
      try $0.setNullable(["s", "x"], false)
    }
    guard case .protocol(let tableProtocol) = changed.actions[0] else { return #expect(Bool(false)) }
    #expect(tableProtocol.supports(.checkConstraints) && tableProtocol.supports(.allowColumnDefaults) && tableProtocol.supports(.appendOnly))
    #expect(changed.metadata.checkConstraints.map(\.name) == ["positive"] && changed.metadata.checkConstraints[0].expression == "id > 0")
    #expect(changed.schema.defaults == [ColumnExpression(path: ["id"], expression: "7")] && changed.schema.notNullColumns == [["s", "x"]])
    var next = base
    next.metadata = changed.metadata
    next.schema = changed.schema
    next.tableProtocol = tableProtocol
    let dropped = try Self.change(next) {
      try $0.dropConstraint("POSITIVE")
      try $0.setDefault(["id"], nil)
    }
    #expect(dropped.metadata.checkConstraints.isEmpty && dropped.schema.defaults.isEmpty && dropped.actions.count == 1)
    #expect(errorCode { _ = try Self.change(next) { try $0.addConstraint("positive", "true") } } == .alreadyExists)
    #expect(errorCode { _ = try Self.change(next) { try $0.dropConstraint("none") } } == .notFound)
    var invariant = Self.schema
    invariant.fields[1].metadata["delta.invariants"] = .string(#"{"expression":{"expression":"x > 3"}}"#)
    invariant.fields[1].metadata["delta.generationExpression"] = "p + 1"
    #expect(try invariant.invariants() == [ColumnExpression(path: ["id"], expression: "x > 3")])
    #expect(invariant.generatedColumns == [ColumnExpression(path: ["id"], expression: "p + 1")])
    invariant.fields[1].metadata["delta.invariants"] = "{"
    #expect(errorCode { _ = try invariant.invariants() } == .invalidFile)
  }

  @Test func identityValuesAreGivenOnce() throws {
    var column = IdentityColumn(name: "n", start: 10, step: 5)
    #expect(try column.reserve(3) == 10 && column.highWaterMark == 20)
    #expect(try column.reserve(2) == 25 && column.highWaterMark == 30)
    #expect(try column.reserve(0) == nil)
    column.observe(42)
    #expect(try column.reserve(1) == 45)
    var down = IdentityColumn(name: "n", start: 0, step: -3, highWaterMark: -4)
    #expect(try down.reserve(2) == -6 && down.highWaterMark == -9)
    var early = IdentityColumn(name: "n", start: 100, step: 1, highWaterMark: 5)
    #expect(try early.reserve(1) == 100)
    for (start, step, mark, count) in [
      (Int64.max - 1, Int64(1), Int64?.none, Int64(3)), (0, .max, 5, 2), (.min, 1, .max, 1), (0, -1, .min, 1), (1, 2, nil, .max), (0, .min, .min, 1),
    ] {
      var full = IdentityColumn(name: "n", start: start, step: step, highWaterMark: mark)
      #expect(errorCode { _ = try full.reserve(count) } == .resourceExhausted)
    }
    let field = try column.field()
    #expect(try IdentityColumn(field) == column)
    let schema = StructType(fields: [field]).updating([IdentityColumn(name: "n", highWaterMark: 99)])
    #expect(try schema.identityColumns()[0].highWaterMark == 99)
    var damaged = field
    damaged.metadata["delta.identity.step"] = .integer(0)
    #expect(errorCode { _ = try IdentityColumn(damaged) } == .invalidFile)
  }

  @Test func namesNeedMappingWhenParquetCannotHoldThem() throws {
    for name in ["a b", "a,b", "a=b", "a\nb", ""] {
      let schema = StructType(fields: [StructField(name: name, type: .primitive("long"))])
      #expect(errorCode { try schema.checkNames(isMapped: false) } == .invalidArgument)
      #expect(errorCode { try schema.checkNames(isMapped: true) } == (name.isEmpty ? .invalidArgument : nil))
    }
    let twice = StructType(fields: [StructField(name: "a", type: .primitive("long")), StructField(name: "A", type: .primitive("long"))])
    #expect(errorCode { try twice.checkNames(isMapped: true) } == .invalidArgument)
  }

  @Test func rowTrackingIsTurnedOnAfterABackfill() throws {
    let store = InMemoryObjectStore()
    let table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: TableFeature.writtenByData)
    _ = try table.create(schema: StructType(fields: [StructField(name: "id", type: .primitive("long"))]))
    for index in 0..<3 { _ = try table.append([AddFile(relativePath: "f\(index)", size: 1, statistics: ["numRecords": 4])]) }
    var base = try table.snapshot()
    #expect(errorText { _ = try Self.change(base) { try $0.setProperties(["delta.enableRowTracking": "true"]) } }?.contains("row ids") == true)
    let upgrade = CommitPlan([.protocol(base.tableProtocol.adding([.rowTracking]))], operation: "UPGRADE PROTOCOL")
    _ = try table.commit(upgrade, onto: &base)
    _ = try table.commit(CommitPlan(RowTracking.backfill(base), reads: .everything, operation: "ROW TRACKING BACKFILL"), onto: &base)
    #expect(base.files.compactMap(\.baseRowId).sorted() == [0, 4, 8])
    var change = SchemaChange(base)
    try change.setProperties(["delta.enableRowTracking": "true"])
    _ = try table.commit(change.plan(operation: "SET TBLPROPERTIES"), onto: &base)
    #expect(base.properties.hasRowTracking && base.metadata.configuration[RowTracking.rowIdColumnProperty]?.hasPrefix("_row-id-col-") == true)
    _ = try table.append([AddFile(relativePath: "g", size: 1, statistics: ["numRecords": 2])])
    #expect(try table.snapshot().filesByPath["g"]?.baseRowId == 12)
  }
}
