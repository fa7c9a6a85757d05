// SPDX-License-Identifier: Apache-2.0

import Query
import Testing

@Suite struct QueryTests {}
