import Registry

/// GRDB has a `Row`, too, and the module `Registry` hides behind its type of the same name.
typealias RegistryRow = Row
