// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Hummingbird

/// What deployments of projects have made: the command line plans with it, and notes in it what it does.
struct DeploymentRoutes {
  let service: any PlatformService

  func add(to routes: DescribedRoutes) {
    let service = self.service
    var routes = routes.tagged("Deployments")
    routes.prefix = "/api/2.0/deployments"
    routes.add(.get, "/list", "All deployments, without their resources") { _, _ -> DeploymentList in try await service.deployments() }
    routes.add(.get, "/get", "A deployment with its resources as they are now", query: [.text("root_path")]) { request, context -> DeploymentInfo in
      try await service.deployment(try request.requiredQuery("root_path"), by: context.principal)
    }
    routes.add(.post, "/begin", "Begin to deploy") { (body: DeploymentBegin, _, context) -> DeploymentVersion in
      try await service.beginDeployment(body, by: context.principal)
    }
    routes.add(.post, "/put-resource", "Make or change a job, or note an object of the catalog") { (body: DeploymentChange, _, context) -> DeploymentResource in
      try await service.putResource(body, by: context.principal)
    }
    routes.done(.post, "/remove-resource", "Delete a job, or forget an object of the catalog") { (body: DeploymentChange, _, context) in
      try await service.removeResource(body, by: context.principal)
    }
    routes.done(.post, "/end", "The deployment is complete") { (body: DeploymentEnd, _, context) in
      try await service.endDeployment(body, by: context.principal)
    }
  }
}
