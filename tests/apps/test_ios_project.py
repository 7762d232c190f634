"""The Xcode project, its plists and what they refer to: all that can be read of them without Xcode."""

import json
import plistlib
import re
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from pbxproj import XcodeProject

from tests.apps.trees import IOS, ROOT, parse, text, walk

PROJECT = IOS / "PocketLM.xcodeproj" / "project.pbxproj"
SCHEME = IOS / "PocketLM.xcodeproj" / "xcshareddata" / "xcschemes" / "PocketLM.xcscheme"
PRIVACY = IOS / "App" / "Resources" / "PrivacyInfo.xcprivacy"
SWIFT = sorted(
    path for folder in ("App", "AppTests", "AppUITests", "PocketCore") for path in (IOS / folder).rglob("*.swift")
)
PRODUCTS = {
    "PocketCore",
    "executorch",
    "executorch_llm",
    "backend_coreml",
    "backend_xnnpack",
    "kernels_llm",
    "kernels_optimized",
    "kernels_quantized",
}
# https://developer.apple.com/documentation/bundleresources/describing-use-of-required-reason-api
REASONS = {
    "NSPrivacyAccessedAPICategoryDiskSpace": r"volumeAvailableCapacity|systemFreeSize|\bstatfs\b",
    "NSPrivacyAccessedAPICategorySystemBootTime": r"systemUptime|mach_absolute_time",
    "NSPrivacyAccessedAPICategoryUserDefaults": r"\bUserDefaults\b",
    "NSPrivacyAccessedAPICategoryFileTimestamp": r"contentModificationDate|creationDate|attributesOfItem|\bl?stat\(",
}


@pytest.fixture(scope="module")
def project() -> XcodeProject:
    return XcodeProject.load(str(PROJECT))


def of(project: XcodeProject, isa: str) -> list[Any]:
    return list(project.objects.get_objects_in_section(isa))


def plist(path: Path) -> Any:
    return plistlib.loads(path.read_bytes())


def test_every_id_is_an_object(project: XcodeProject) -> None:
    source = PROJECT.read_text()
    defined = set(re.findall(r"^\t\t([0-9A-F]{24}) ", source, re.M))
    assert set(re.findall(r"\b[0-9A-F]{24}\b", source)) == defined
    assert len(defined) == len(re.findall(r"^\t\t[0-9A-F]{24} ", source, re.M))


def test_every_path_is_there(project: XcodeProject) -> None:
    groups = {group.get_id(): group for group in of(project, "PBXGroup")}
    parents = {child: group for group in groups.values() for child in group.children}
    for node in [*of(project, "PBXFileReference"), *of(project, "PBXFileSystemSynchronizedRootGroup")]:
        if node.sourceTree != "<group>":
            continue
        folder = parents[node.get_id()]
        path = IOS / (folder.path if "path" in folder else "") / node.path
        assert path.exists(), path
    for package in of(project, "XCLocalSwiftPackageReference"):
        assert (IOS / package.relativePath / "Package.swift").is_file()
    for configuration in of(project, "XCBuildConfiguration"):
        for key in ("INFOPLIST_FILE", "CODE_SIGN_ENTITLEMENTS"):
            if key in configuration.buildSettings:
                assert (IOS / configuration.buildSettings[key]).is_file()


def test_the_app_links_the_runtime_whole(project: XcodeProject) -> None:
    products = {product.productName for product in of(project, "XCSwiftPackageProductDependency")}
    assert products == PRODUCTS
    (app,) = [target for target in of(project, "PBXNativeTarget") if target.name == "PocketLM"]
    configurations = project.objects[app.buildConfigurationList].buildConfigurations
    for configuration in configurations:
        assert "-all_load" in project.objects[configuration].buildSettings["OTHER_LDFLAGS"]


def test_the_runtime_has_one_version(project: XcodeProject) -> None:
    """The branch of the package, what the app says of itself, and what packages are exported with."""
    (package,) = of(project, "XCRemoteSwiftPackageReference")
    assert package.repositoryURL == "https://github.com/pytorch/executorch.git"
    branch = package.requirement["branch"]
    source = (IOS / "App" / "AppModel.swift").read_text()
    (version,) = re.findall(r'static let runtime = "([\d.]+)"', source)
    assert branch == f"swiftpm-{version}"
    assert f"executorch=={version}" in (ROOT / "constraints.txt").read_text()


def test_the_scheme_names_the_targets(project: XcodeProject) -> None:
    targets = {target.get_id(): target.name for target in of(project, "PBXNativeTarget")}
    references = list(ElementTree.parse(SCHEME).iter("BuildableReference"))
    assert {ref.get("BlueprintIdentifier"): ref.get("BlueprintName") for ref in references} == targets


def test_info_plist_offers_the_ways_in() -> None:
    info = plist(IOS / "Config" / "Info.plist")
    assert info["UIFileSharingEnabled"] and info["LSSupportsOpeningDocumentsInPlace"]
    (documents,) = info["CFBundleDocumentTypes"]
    assert documents["LSItemContentTypes"] == ["public.zip-archive", "public.folder"]
    assert documents["LSHandlerRank"] == "Alternate"
    assert "NSAppTransportSecurity" not in info  # https alone


def test_the_entitlement_asks_for_memory() -> None:
    assert plist(IOS / "Config" / "PocketLM.entitlements") == {
        "com.apple.developer.kernel.increased-memory-limit": True
    }


def test_the_privacy_manifest_names_what_is_used() -> None:
    manifest = plist(PRIVACY)
    assert manifest["NSPrivacyTracking"] is False and manifest["NSPrivacyCollectedDataTypes"] == []
    named = {entry["NSPrivacyAccessedAPIType"] for entry in manifest["NSPrivacyAccessedAPITypes"]}
    code = "\n".join(path.read_text(encoding="utf-8") for path in SWIFT if "Tests" not in path.parts)
    assert named == {category for category, used in REASONS.items() if re.search(used, code)}
    assert all(entry["NSPrivacyAccessedAPITypeReasons"] for entry in manifest["NSPrivacyAccessedAPITypes"])


def test_assets_are_whole() -> None:
    catalog = IOS / "App" / "Resources" / "Assets.xcassets"
    for contents in catalog.rglob("Contents.json"):
        for image in json.loads(contents.read_text()).get("images", []):
            data = (contents.parent / image["filename"]).read_bytes()
            width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
            assert (width, height, depth, colour) == (1024, 1024, 8, 2)  # RGB: an icon must have no alpha


def test_the_workflow_names_what_is_there() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ios.yml").read_text()
    for path in re.findall(r"\bios_app/[\w./-]*\w", workflow):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("path", SWIFT, ids=lambda path: str(path.relative_to(IOS)))
def test_sources_are_readable(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines)) <= 120
    functions = [node for node in walk(parse(path)) if node.type == "function_declaration"]
    for node in functions:
        assert node.end_point.row - node.start_point.row < 50, text(node)[:60]


def test_every_picture_has_words() -> None:
    """VoiceOver reads a picture's file name where no label stands beside it."""
    for path in (IOS / "App").rglob("*.swift"):
        code = path.read_text(encoding="utf-8")
        for found in re.finditer(r"Image\(systemName:[^)]*\)(.*)", code):
            before = code[: found.start()].rstrip()
            assert ".accessibilityLabel(" in found[1] or before.endswith("} icon: {"), f"{path.name}: {found[0]}"
