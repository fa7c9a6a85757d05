// SPDX-License-Identifier: Apache-2.0

// Connections, credentials and external locations of `/api/2.1/unity-catalog/`.

public struct ConnectionFacts: Codable, Sendable, Equatable {
  public var connectionID: String
  /// As in `POSTGRESQL`.
  public var connectionType: String
  /// Without passwords and tokens.
  public var options: [String: String]
  public var readOnly: Bool
  public var securableType = "CONNECTION"
  public init(id: String, connectionType: String, options: [String: String], readOnly: Bool) {
    connectionID = id
    self.connectionType = connectionType
    self.options = options
    self.readOnly = readOnly
  }
  enum CodingKeys: String, CodingKey {
    case options
    case connectionID = "connection_id"
    case connectionType = "connection_type"
    case readOnly = "read_only"
    case securableType = "securable_type"
  }
}

public struct CreateConnectionRequest: Codable, Sendable, Equatable {
  public var name: String
  public var connectionType: String
  public var options: [String: String]
  public var properties: [String: String]?
  public var comment: String?
  public var readOnly: Bool?
  public init(name: String, connectionType: String, options: [String: String], comment: String? = nil, readOnly: Bool? = nil) {
    self.name = name
    self.connectionType = connectionType
    self.options = options
    self.comment = comment
    self.readOnly = readOnly
  }
  enum CodingKeys: String, CodingKey {
    case name, options, properties, comment
    case connectionType = "connection_type"
    case readOnly = "read_only"
  }
}

public struct ChangeConnectionRequest: Codable, Sendable, Equatable {
  /// Takes the place of all options that are there.
  public var options: [String: String]?
  public var newName: String?
  public var owner: String?
  public var comment: String?
  public init(options: [String: String]? = nil, newName: String? = nil, owner: String? = nil, comment: String? = nil) {
    self.options = options
    self.newName = newName
    self.owner = owner
    self.comment = comment
  }
  enum CodingKeys: String, CodingKey {
    case options, owner, comment
    case newName = "new_name"
  }
}

public struct AWSRole: Codable, Sendable, Equatable {
  public var roleARN: String
  public init(roleARN: String) { self.roleARN = roleARN }
  enum CodingKeys: String, CodingKey { case roleARN = "role_arn" }
}

/// Keys of an S3-compatible store; the secret ones are only in requests.
public struct AccessKeys: Codable, Sendable, Equatable {
  public var accessKeyID: String
  public var secretAccessKey: String?
  public var sessionToken: String?
  public var accountID: String?
  public var endpoint: String?
  public var region: String?
  public init(
    accessKeyID: String, secretAccessKey: String? = nil, sessionToken: String? = nil, accountID: String? = nil, endpoint: String? = nil,
    region: String? = nil
  ) {
    self.accessKeyID = accessKeyID
    self.secretAccessKey = secretAccessKey
    self.sessionToken = sessionToken
    self.accountID = accountID
    self.endpoint = endpoint
    self.region = region
  }
  enum CodingKeys: String, CodingKey {
    case endpoint, region
    case accessKeyID = "access_key_id"
    case secretAccessKey = "secret_access_key"
    case sessionToken = "session_token"
    case accountID = "account_id"
  }
}

public struct StorageCredentialFacts: Codable, Sendable, Equatable {
  public var id: String
  public var purpose: String
  public var readOnly: Bool
  public var usedForManagedStorage = false
  public var awsIAMRole: AWSRole?
  public var cloudflareAPIToken: AccessKeys?
  public var s3AccessKey: AccessKeys?
  public init(id: String, purpose: String, readOnly: Bool) {
    self.id = id
    self.purpose = purpose
    self.readOnly = readOnly
  }
  enum CodingKeys: String, CodingKey {
    case id, purpose
    case readOnly = "read_only"
    case usedForManagedStorage = "used_for_managed_storage"
    case awsIAMRole = "aws_iam_role"
    case cloudflareAPIToken = "cloudflare_api_token"
    case s3AccessKey = "s3_access_key"
  }
}

/// Makes a credential, or changes one; exactly one of the last three says how the store is opened.
public struct CredentialRequest: Codable, Sendable, Equatable {
  public var name: String?
  public var newName: String?
  public var comment: String?
  public var owner: String?
  public var purpose: CredentialPurposeName?
  public var readOnly: Bool?
  public var awsIAMRole: AWSRole?
  public var cloudflareAPIToken: AccessKeys?
  /// Not a member of Unity Catalog's: keys of any S3-compatible store.
  public var s3AccessKey: AccessKeys?
  public init(
    name: String? = nil, newName: String? = nil, comment: String? = nil, owner: String? = nil, readOnly: Bool? = nil, awsIAMRole: AWSRole? = nil,
    s3AccessKey: AccessKeys? = nil
  ) {
    self.name = name
    self.newName = newName
    self.comment = comment
    self.owner = owner
    self.readOnly = readOnly
    self.awsIAMRole = awsIAMRole
    self.s3AccessKey = s3AccessKey
  }
  enum CodingKeys: String, CodingKey {
    case name, comment, owner, purpose
    case newName = "new_name"
    case readOnly = "read_only"
    case awsIAMRole = "aws_iam_role"
    case cloudflareAPIToken = "cloudflare_api_token"
    case s3AccessKey = "s3_access_key"
  }
}

public struct ExternalLocationFacts: Codable, Sendable, Equatable {
  public var id: String
  public var url: String
  public var credentialName: String?
  public var credentialID: String?
  public var readOnly: Bool
  public init(id: String, url: String, credentialName: String?, credentialID: String?, readOnly: Bool) {
    self.id = id
    self.url = url
    self.credentialName = credentialName
    self.credentialID = credentialID
    self.readOnly = readOnly
  }
  enum CodingKeys: String, CodingKey {
    case id, url
    case credentialName = "credential_name"
    case credentialID = "credential_id"
    case readOnly = "read_only"
  }
}

public struct CreateLocationRequest: Codable, Sendable, Equatable {
  public var name: String
  public var url: String
  /// Not needed, and passed over when empty, for folders of this machine.
  public var credentialName: String?
  public var comment: String?
  public var readOnly: Bool?
  public init(name: String, url: String, credentialName: String? = nil, comment: String? = nil, readOnly: Bool? = nil) {
    self.name = name
    self.url = url
    self.credentialName = credentialName
    self.comment = comment
    self.readOnly = readOnly
  }
  enum CodingKeys: String, CodingKey {
    case name, url, comment
    case credentialName = "credential_name"
    case readOnly = "read_only"
  }
}

public struct ChangeLocationRequest: Codable, Sendable, Equatable {
  public var newName: String?
  public var url: String?
  public var credentialName: String?
  public var comment: String?
  public var owner: String?
  public var readOnly: Bool?
  public var force: Bool?
  public init(
    newName: String? = nil, url: String? = nil, credentialName: String? = nil, comment: String? = nil, owner: String? = nil, readOnly: Bool? = nil,
    force: Bool? = nil
  ) {
    self.newName = newName
    self.url = url
    self.credentialName = credentialName
    self.comment = comment
    self.owner = owner
    self.readOnly = readOnly
    self.force = force
  }
  enum CodingKeys: String, CodingKey {
    case url, comment, owner, force
    case newName = "new_name"
    case credentialName = "credential_name"
    case readOnly = "read_only"
  }
}
