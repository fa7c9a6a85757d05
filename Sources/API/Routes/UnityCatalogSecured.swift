// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Hummingbird

/// Connections, credentials and external locations.
extension UnityCatalogRoutes {
  func addConnections(to routes: DescribedRoutes) {
    routes.list("/connections", "connections", "Connections by name") { [service] page, _, _ in try await service.connections(page) }
    routes.add(.post, "/connections", "Make a connection") { [service] (body: CreateConnectionRequest, _, context) in
      try await service.createConnection(body, by: context.principal)
    }
    routes.add(.get, "/connections/{name}", "One connection") { [service] _, context in try await service.connection(context.name()) }
    routes.add(.patch, "/connections/{name}", "Change or rename a connection") { [service] (body: ChangeConnectionRequest, _, context) in
      try await service.changeConnection(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/connections/{name}", "Remove a connection") { [service] _, context in
      try await service.deleteConnection(context.name(), by: context.principal)
    }
  }

  /// Under both names that clients use.
  func addCredentials(to routes: DescribedRoutes) {
    for (path, key) in [("/credentials", "credentials"), ("/storage-credentials", "storage_credentials")] {
      routes.list(path, key, "Credentials by name", query: [.text("purpose")]) { [service] page, request, _ in
        let purpose = try request.query("purpose").map { word in
          guard let known = CredentialPurposeName(rawValue: word.uppercased()) else {
            throw PlatformError(.invalidArgument, "purpose must be one of \(CredentialPurposeName.spellings.joined(separator: ", "))")
          }
          return known
        }
        return try await service.credentials(key: key, purpose: key == "storage_credentials" ? .storage : purpose, page)
      }
      routes.add(.post, path, "Make a credential; its secret part is never shown") { [service] (body: CredentialRequest, _, context) in
        try await service.createCredential(body, by: context.principal)
      }
      routes.add(.get, path + "/{name}", "One credential") { [service] _, context in try await service.credential(context.name()) }
      routes.add(.patch, path + "/{name}", "Change or rename a credential") { [service] (body: CredentialRequest, _, context) in
        try await service.changeCredential(context.name(), body, by: context.principal)
      }
      routes.done(.delete, path + "/{name}", "Remove a credential", query: [.flag("force")]) { [service] request, context in
        try await service.deleteCredential(context.name(), force: request.force(), by: context.principal)
      }
    }
  }

  func addLocations(to routes: DescribedRoutes) {
    routes.list("/external-locations", "external_locations", "External locations by name", query: [.flag("include_browse")]) { [service] page, _, _ in
      try await service.externalLocations(page)
    }
    routes.add(.post, "/external-locations", "Make an external location") { [service] (body: CreateLocationRequest, _, context) in
      try await service.createExternalLocation(body, by: context.principal)
    }
    routes.add(.get, "/external-locations/{name}", "One external location", query: [.flag("include_browse")]) { [service] _, context in
      try await service.externalLocation(context.name())
    }
    routes.add(.patch, "/external-locations/{name}", "Change or rename an external location") {
      [service] (body: ChangeLocationRequest, _, context) in try await service.changeExternalLocation(context.name(), body, by: context.principal)
    }
    routes.done(.delete, "/external-locations/{name}", "Remove an external location", query: [.flag("force")]) { [service] request, context in
      try await service.deleteExternalLocation(context.name(), force: request.force(), by: context.principal)
    }
  }
}
