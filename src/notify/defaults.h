/* notify/defaults.h - the default templates, by Alertmanager's names */
#pragma once

extern const char message_default_templates[];
