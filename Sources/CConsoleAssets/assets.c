// SPDX-License-Identifier: Apache-2.0
#include "console_assets.h"

static const unsigned char index_html[] = {
#embed "assets/index.html"
};
static const unsigned char console_css[] = {
#embed "assets/console.css"
};
static const unsigned char console_js[] = {
#embed "assets/console.js"
};
static const unsigned char charts_js[] = {
#embed "assets/charts.js"
};
static const unsigned char icon_svg[] = {
#embed "assets/icon.svg"
};

static const unsigned char lifecycle_workflow[] = {
#embed "../../cluster/workflows/lifecycle.yml"
};

static const pc_asset assets[] = {
    {"/", "text/html; charset=utf-8", index_html, sizeof index_html},
    {"/console.css", "text/css; charset=utf-8", console_css, sizeof console_css},
    {"/console.js", "text/javascript; charset=utf-8", console_js, sizeof console_js},
    {"/charts.js", "text/javascript; charset=utf-8", charts_js, sizeof charts_js},
    {"/icon.svg", "image/svg+xml", icon_svg, sizeof icon_svg},
};

size_t pc_asset_count(void) { return sizeof assets / sizeof assets[0]; }
pc_asset pc_asset_at(size_t index) { return assets[index]; }

pc_asset pc_lifecycle_workflow(void) {
  pc_asset file = {"cluster/workflows/lifecycle.yml", "application/yaml", lifecycle_workflow, sizeof lifecycle_workflow};
  return file;
}
