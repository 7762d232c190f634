/// The part of the os module that the app uses. Own code; sources beside each declaration.

/// Source: https://developer.apple.com/documentation/os/os_proc_available_memory
// swift-format-ignore: AlwaysUseLowerCamelCase
public func os_proc_available_memory() -> Int { 0 }
