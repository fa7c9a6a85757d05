// SPDX-License-Identifier: Apache-2.0

/// A binary heap whose smallest element comes first.
struct BinaryHeap<Element: Comparable> {
  private var elements: ContiguousArray<Element> = []
  var isEmpty: Bool { elements.isEmpty }
  var count: Int { elements.count }

  mutating func push(_ element: Element) {
    elements.append(element)
    var child = elements.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard elements[child] < elements[parent] else { break }
      elements.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> Element? {
    guard let top = elements.first else { return nil }
    let last = elements.removeLast()
    guard !elements.isEmpty else { return top }
    elements[0] = last
    var parent = 0
    while true {
      var least = 2 * parent + 1
      guard least < elements.count else { break }
      if least + 1 < elements.count, elements[least + 1] < elements[least] { least += 1 }
      guard elements[least] < elements[parent] else { break }
      elements.swapAt(least, parent)
      parent = least
    }
    return top
  }
}
